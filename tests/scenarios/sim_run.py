#!/usr/bin/python3
"""Whole runs against the simulator: skepd cannot tell it from a provider, and nothing costs anything."""
# timeout: 240
import json

from installation import Installation, git, repository
from scenario import main, scenario, wait_until
from simulator import KEY, Simulator

FILES = {f"src/file-{i}.txt": f"line one of {i}\nline two\n" for i in range(12)}


def installation(work, sim, name="state"):
    skep = Installation(work, name, config=sim.config())
    skep.run("secret", "set", "SIM_KEY", input=KEY + "\n")
    return skep


def run(skep, repo, *words, code=0, limit_s=120):
    return skep.json_lines("run", "--repo", repo, "--provider", "sim", *words, code=code, limit_s=limit_s)


@scenario("a whole run against the simulator ends with a summary and patches that git apply accepts")
def _(work):
    repo = repository(work / "repo", FILES)
    head = git(repo, "rev-parse", "HEAD").stdout.decode().strip()
    agent = {"lines": 12, "interval_ms": 20, "files": 2}
    with Simulator(work, scenario={"agent": agent}) as sim, installation(work, sim) as skep:
        lines = run(skep, repo, "--sandboxes", "3", "--panes", "2", "--", "./agent")
        swarm, summary = lines[0]["run"]["swarm"], lines[-1]["summary"]
        assert summary["swarm"]["result"] == "completed", summary["swarm"]
        assert [p["result"] for p in summary["panes"]] == ["completed"] * 6
        out = repo / "skep-out" / swarm
        written = json.loads((out / "summary.json").read_text())
        assert written["conflicts"] == [] and len(written["merged"]) == 6, written
        for i in range(6):
            log = (out / f"p{i}.log").read_text()
            assert log.startswith(f"p{i} line 1 of 12") and log.endswith("finished, cost_usd=0.0100\n"), log
            assert len(log) == summary["panes"][i]["final_offset"]
        git(repo, "apply", "--check", out / "swarm.patch")
        git(repo, "apply", "--index", out / "swarm.patch")
        names = set(git(repo, "diff", "--cached", "--name-only").stdout.decode().split())
        expected = {f"sim/p{i}-{k}.txt" for i in range(6) for k in range(2)} | set(FILES)
        assert names == expected, names ^ expected
        base = [e["body"] for e in skep.events(swarm) if e["type"] == "sandbox.base_recorded"]
        assert [(b["commit"], b["is_head"]) for b in base] == [(head, True)] * 3, base
        # The simulator's word, not ours: three sandboxes of this installation, each killed once by us.
        creates, kills = sim.record("create"), sim.record("kill")
        assert len(creates) == 3 and all(c["metadata"]["skep.install"] == skep.install_id() for c in creates), creates
        assert len({c["metadata"]["skep.intent"] for c in creates}) == 3
        assert sorted(k["sandbox"] for k in kills) == sorted(c["sandbox"] for c in creates)
        assert {k["why"] for k in kills} == {"request"} and sim.alive() == []


@scenario("agents of a rehearsal fail, ask and stop as real ones do")
def _(work):
    repo = repository(work / "repo", FILES)
    with Simulator(work) as sim, installation(work, sim) as skep:
        failed = run(skep, repo, "--restarts", "0", "--", "sim-agent", "--exit", "3", "--lines", "2", code=81)
        assert failed[-1]["summary"]["panes"][0]["exit_code"] == 3, failed[-1]
        words = ("--name", "ask", "--detach", "--", "sim-agent", "--ask", "Really?", "--lines", "4")
        swarm = run(skep, repo, *words)[0]["run"]["swarm"]

        def runs(name):
            """The pane runs; a swarm that was just made has none yet."""
            return any(p["state"] == "running" for p in skep.json("status", name)["panes"])

        def log():
            return "".join(d["text"] for d in skep.json_lines("logs", "ask/p0", "--from", "0"))
        wait_until("the question is asked", lambda: runs(swarm) and "Really?" in log(), 40)
        skep.json("send", "ask/p0", "yes")
        closed = wait_until("the swarm is closed", lambda: [s for s in skep.json("ps", "--all")["swarms"]
                                                            if s["swarm"] == swarm and s["state"] == "closed"], 40)
        assert closed[0]["result"] == "completed", closed
        assert "answered: yes\n" in log()
        slow = run(skep, repo, "--name", "slow", "--detach", "--", "sim-agent", "--stall-ms", "600000",
                   "--lines", "2")[0]["run"]["swarm"]
        wait_until("the agent stalls", lambda: runs(slow), 40)
        looked = skep.json("diff", "slow/p0")
        assert looked["live"] and [p["name"] for p in looked["panes"]] == ["p0"], looked
        skep.json("stop", slow)
        wait_until("it was stopped", lambda: skep.json("status", slow)["swarm"]["state"] == "closed", 40)
        assert skep.json("status", slow)["swarm"]["result"] == "cancelled"
        wait_until("nothing is left", lambda: not sim.alive(), 20)


@scenario("a look at a pane that still works has the time that [policy] gives a download, and says so when it is over")
def _(work):
    repo = repository(work / "repo", FILES)
    play = {"faults": {"programs": [{"what": "skep-guest diff", "how": "hang"}]}}
    with Simulator(work, scenario=play) as sim, \
            Installation(work, config=sim.config() + "[policy]\ncollect_s = 2\n") as skep:
        skep.run("secret", "set", "SIM_KEY", input=KEY + "\n")
        swarm = run(skep, repo, "--detach", "--", "sim-agent", "--stall-ms", "600000", "--lines", "2")[0]["run"]["swarm"]
        wait_until("the agent works", lambda: any(p["state"] == "running" for p in skep.status(swarm)["panes"]), 40)
        told = skep.json("diff", f"{swarm}/p0", code=None, limit_s=60)["error"]
        assert told["code"] == "timed_out" and "collect_s = 2 " in told["message"], told
        skep.run("kill", swarm, code=0)
        wait_until("nothing is left", lambda: not sim.alive(), 40)


@scenario("two runs with one seed give identical event lists but for timestamps and names")
def _(work):
    repo = repository(work / "repo", FILES)
    play = {"agent": {"lines": [5, 30], "interval_ms": [1, 20], "files": [1, 3], "fail_percent": 30}}
    found = []
    for turn in ("one", "two"):
        with Simulator(work, seed=5, scenario=play, name=turn) as sim, installation(work, sim, f"state-{turn}") as skep:
            lines = run(skep, repo, "--panes", "4", "--restarts", "0", "--", "./agent", code=None)
            swarm = lines[0]["run"]["swarm"]
            rows = {p["name"]: (p["result"], p["exit_code"], p["final_offset"]) for p in lines[-1]["summary"]["panes"]}
            logs = {p: (repo / "skep-out" / swarm / f"{p}.log").read_text() for p in rows}
            patches = {p: (repo / "skep-out" / swarm / f"{p}.patch").read_text() for p in rows}
            record = [(e["event"], e.get("sandbox"), e.get("why")) for e in sim.record()]
            names = {p["pane"]: p["name"] for p in skep.json("status", swarm)["panes"]}
            events = {}
            for e in skep.events(swarm):
                events.setdefault(names.get(e["body"].get("pane"), "-"), []).append(e["type"])
            facts = {k: [t for t in v if t.startswith("pane.")] for k, v in events.items()}
            found.append((rows, logs, patches, record, facts))
    assert found[0] == found[1], found
    assert len(set(found[0][0].values())) > 1, "the panes do not differ"


@scenario("a run gets through cut streams, repeated frames and a restart of the provider without losing a line")
def _(work):
    repo = repository(work / "repo", FILES)
    play = {"agent": {"lines": 300, "interval_ms": 20, "line_bytes": 100},
            "faults": {"latency_ms": {"create": [10, 100], "envd": [0, 5]}, "cut_percent": 60,
                       "cut_after_bytes": [2000, 30000], "repeat_percent": 20,
                       "restart_after_creates": [2], "restart_down_ms": 500}}
    with Simulator(work, scenario=play) as sim, installation(work, sim) as skep:
        swarm = run(skep, repo, "--panes", "3", "--detach", "--", "./agent")[0]["run"]["swarm"]

        def running():
            text = "".join(d["text"] for d in skep.json_lines("logs", f"{swarm}/p0", "--from", "0"))
            return "p0 line 20 of 300" in text
        wait_until("the agents are at work",
                   lambda: [p["state"] for p in skep.json("status", swarm)["panes"]] == ["running"] * 3 and running(), 40)
        other = sim.ask("POST", "/v2/sandboxes", {"templateID": "base", "timeout": 600, "metadata": {"owner": "else"}})
        assert len(sim.record("restart")) == 1
        status = wait_until("the swarm is closed", lambda: [s for s in skep.json("ps", "--all")["swarms"]
                                                            if s["swarm"] == swarm and s["state"] == "closed"], 90)
        assert status[0]["result"] == "completed", status
        for name in ("p0", "p1", "p2"):
            log = (repo / "skep-out" / swarm / f"{name}.log").read_text().splitlines()
            assert len(log) == 301, len(log)
            for i, line in enumerate(log[:-1]):
                assert line.startswith(f"{name} line {i + 1} of 300"), (i, line)
        wait_until("only the foreign sandbox is left", lambda: sim.alive() == [other["sandboxID"]], 20)


main()

#!/usr/bin/python3
"""How runs and the daemon end by themselves: time limits with nobody watching, a stop with an agent that does not
listen, panic, freezing, and a command that ran out of time."""
# timeout: 900
import json
import os
import signal
import time

from installation import Installation, alive, repository
from scenario import PATIENCE, main, program, scenario, wait_until
from simulator import KEY, Simulator

# Leaves a result at once and then stays.
STAYS = "#!/bin/sh\necho kept >result.txt\necho ready\nexec tail -f /dev/null\n"
# The same, and takes no notice of an interrupt or a request to end.
HANGS = "#!/bin/sh\ntrap '' INT TERM\necho kept >result.txt\necho ready\nwhile :; do sleep 1; done\n"
COUNTS = "#!/bin/sh\ni=0\nwhile :; do i=$((i+1)); echo \"line $i\"; sleep 0.1; done\n"


def daemon(skep):
    """A skepd of our own, whose exit code we see."""
    process = skep.popen(program("skepd"))
    wait_until("skepd answers", lambda: skep.run("daemon", "status").returncode == 0, 20)
    return process


@scenario("the hard limit stops a real sandbox with no client connected and keeps its results")
def _(work):
    repo = repository(work / "repo", {"agent": STAYS})
    with Installation(work) as skep:
        limit_s = 10 * PATIENCE
        warn_s = [3 * PATIENCE, 6 * PATIENCE]
        swarm = skep.start(repo, "--limit", f"{limit_s}s", "--warn-at", ",".join(f"{w}s" for w in warn_s), "--", "./agent")
        out = repo / "skep-out" / swarm
        # Nobody asks the daemon for anything: the file alone says that it is over.
        wait_until("the results are there", (out / "summary.json").exists, 60)
        status = skep.closed(swarm)
        assert status["swarm"]["result"] == "timed_out", status["swarm"]
        assert status["swarm"]["warned_ms"] == warn_s[-1] * 1000, status["swarm"]
        assert [s["result"] for s in status["sandboxes"]] == ["timed_out"]
        assert "result.txt" in (out / "p0.patch").read_text()
        assert (out / "p0.log").read_text().startswith("ready")
        events = skep.events(swarm)
        told = [e["body"] for e in events if e["type"] == "swarm.time_warning"]
        assert [b["threshold_ms"] for b in told] == [w * 1000 for w in warn_s], told
        assert all(b["limit_ms"] == limit_s * 1000 and "cost_usd" in b and b["text"] for b in told), told
        limit = [e["body"] for e in events if e["type"] == "swarm.time_limit"]
        assert len(limit) == 1 and limit_s <= limit[0]["elapsed_ms"] / 1000 < limit_s + 3 * PATIENCE, limit
        assert limit[0]["limit_ms"] == limit_s * 1000 and limit[0]["cost_whole"] and limit[0]["cost_usd"] == 0, limit
        # Results came before the kill, and the lease was never shorter than the limit and its grace.
        kinds = [e["type"] for e in events]
        collected = max(i for i, kind in enumerate(kinds) if kind == "transfer.done")
        assert kinds.index("swarm.time_limit") < collected < kinds.index("sandbox.kill_intended"), kinds
        leases = [e for e in events if e["type"] == "sandbox.lease_intended"]
        assert leases and all(e["body"]["end_at_ms"] - e["at_ms"] >= (limit_s + 299) * 1000 for e in leases), leases
        # Ready came only after health and verification, with the time of each step.
        moved = [e["body"] for e in events if e["type"] == "sandbox.phase_changed"]
        names = [b["to"] for b in moved]
        before = names[:names.index("running")]
        assert before == ["creating", "verifying", "provisioning", "uploading", "starting"], names
        ready = moved[len(before)]
        assert [s["phase"] for s in ready["steps"]] == ["queued", *before], ready
        assert [s["ms"] for s in ready["steps"]] == [b["in_previous_ms"] for b in moved[:len(before) + 1]], moved
        assert sum(s["ms"] for s in ready["steps"]) > 0, ready
        assert skep.host_sandboxes() == [], "the sandbox lives on"


@scenario("a run that is not to bring partial results ends at its limit with its log and without a patch")
def _(work):
    repo = repository(work / "repo", {"agent": STAYS})
    with Installation(work) as skep:
        swarm = skep.start(repo, "--limit", f"{15 * PATIENCE}s", "--no-partial", "--", "./agent")
        status = skep.closed(swarm)
        assert status["swarm"]["result"] == "timed_out", status["swarm"]
        assert [p["result"] for p in status["panes"]] == ["timed_out"], status["panes"]
        out = repo / "skep-out" / swarm
        assert not (out / "p0.patch").exists() and "ready" in skep.log_text(f"{swarm}/p0")
        assert skep.host_sandboxes() == [], "the sandbox lives on"


@scenario("after a kill -9 a run has its start, its warnings and its lease, and can be asked, fetched and killed")
def _(work):
    repo = repository(work / "repo", {"agent": STAYS})
    with Installation(work) as skep:
        second = 14 * PATIENCE  # the next daemon is up long before
        swarm = skep.start(repo, "--limit", "10min", "--warn-at", f"2s,{second}s", "--", "./agent")
        before = skep.running(swarm, "ready")

        def warned():
            return [e["body"]["threshold_ms"] for e in skep.events(swarm) if e["type"] == "swarm.time_warning"]
        wait_until("the first warning", lambda: warned() == [2000], 30, every_s=0.2)
        (box,) = skep.host_sandboxes()
        skep.kill_daemon()
        after = skep.running(swarm, "ready")  # status and logs, of the next daemon
        for name in ("created_at_ms", "limit_ms", "swarm"):
            assert after["swarm"].get(name) == before["swarm"].get(name), (name, before["swarm"], after["swarm"])
        assert after["swarm"]["warned_ms"] == 2000, after["swarm"]
        (again,) = skep.host_sandboxes()
        assert again["sandboxID"] == box["sandboxID"] and again["endAt"] >= box["endAt"], (box, again)
        wait_until("the second warning", lambda: len(warned()) > 1, 40, every_s=0.2)
        assert warned() == [2000, second * 1000], warned()
        (later,) = skep.host_sandboxes()
        assert later["endAt"] >= box["endAt"], (box, later)
        skep.run("stop", swarm, "--wait", code=0)
        assert "result.txt" in (repo / "skep-out" / swarm / "p0.patch").read_text()
        # And a second one, ended by a kill.
        swarm = skep.start(repo, "--name", "second", "--", "./agent")
        skep.running(swarm, "ready")
        skep.kill_daemon()
        skep.run("kill", swarm, "--wait", code=0)
        assert skep.status(swarm)["swarm"]["result"] == "killed" and skep.host_sandboxes() == []


@scenario("a command whose daemon dies before it answers is answered by the next one")
def _(work):
    repo = repository(work / "repo", {"agent": STAYS})
    with Installation(work) as skep:
        swarm = skep.start(repo, "--", "./agent")
        skep.running(swarm, "ready")
        daemon_pid = skep.daemon_pid()
        os.kill(daemon_pid, signal.SIGSTOP)  # it listens and says nothing
        asked = [skep.popen("ps", "--json"), skep.popen("stop", swarm, "--json")]
        # Found a daemon and asks it: the client's socket has threads of its own.
        for client in asked:
            wait_until("a client asks", lambda: len(os.listdir(f"/proc/{client.pid}/task")) > 2, 20)
        assert all(client.poll() is None for client in asked)
        skep.kill_daemon()
        listed, stopped = [(client.communicate(timeout=90), client.returncode) for client in asked]
        assert listed[1] == 0 and json.loads(listed[0][0])["swarms"][0]["swarm"] == swarm, listed
        assert stopped[1] == 0 and json.loads(stopped[0][0])["swarms"] == [swarm], stopped
        assert skep.daemon_pid() not in (None, daemon_pid)
        assert skep.closed(swarm)["swarm"]["result"] == "cancelled"
        assert "result.txt" in (repo / "skep-out" / swarm / "p0.patch").read_text()


@scenario("a client that is killed takes nothing with it")
def _(work):
    repo = repository(work / "repo", {"agent": "#!/bin/sh\necho ready\nread line\necho made >made.txt\n"})
    with Installation(work) as skep:
        client = skep.popen("run", "--repo", repo, "--json", "--", "./agent")
        swarm = json.loads(client.stdout.readline())["run"]["swarm"]
        skep.running(swarm, "ready")
        client.kill()
        client.wait()
        assert skep.running(swarm, "ready"), "the run went with its client"
        skep.run("send", f"{swarm}/p0", "go", code=0)
        assert skep.closed(swarm)["swarm"]["result"] == "completed"
        assert "made.txt" in (repo / "skep-out" / swarm / "p0.patch").read_text()


@scenario("a daemon that ends its swarms names the agent that does not listen and ends within 30 s")
def _(work):
    # Four that hang: one after the other they would take 4 x (5 s + 2 s).
    repo = repository(work / "repo", {"agent": "#!/bin/sh\n[ $SKEP_PANE_INDEX = 4 ] && exec ./stays\nexec ./hangs\n",
                                      "hangs": HANGS, "stays": STAYS})
    with Installation(work, config='[daemon]\non_stop = "kill"\n') as skep:
        process = daemon(skep)
        swarm = skep.start(repo, "--panes", "5", "--", "./agent")
        skep.running(swarm, "ready")
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0, process.stderr.read()
        took = time.monotonic() - began
        print(f"# ended after {took:.1f} s", flush=True)
        assert took < (20 if PATIENCE == 1 else 30), took
        # What the next daemon finds: all is over, collected, and the one that did not listen is named.
        status = skep.status(swarm)
        assert status["swarm"]["result"] == "cancelled", status["swarm"]
        told = [e["body"] for e in skep.events(swarm) if e["type"] == "notice"]
        named = [n["text"] for n in told if n["code"] == "agent_unresponsive"]
        assert sorted(text.split()[0] for text in named) == ["p0", "p1", "p2", "p3"], told
        for name in ("p0", "p1", "p2", "p3", "p4"):
            assert "result.txt" in (repo / "skep-out" / swarm / f"{name}.patch").read_text()
        assert skep.host_sandboxes() == []


@scenario("a daemon that ends its swarms kills all sandboxes at once, and a kill without an answer holds up no other")
def _(work):
    repo = repository(work / "repo", {"README": "a test\n"})
    count = 12
    faults = {"faults": {"lost_kill_percent": 70}}
    with Simulator(work, scenario=faults) as sim, \
            Installation(work, config='[daemon]\non_stop = "kill"\n' + sim.config()) as skep:
        skep.run("secret", "set", "SIM_KEY", input=KEY + "\n", code=0)
        process = daemon(skep)
        swarm = skep.start(repo, "--sandboxes", str(count), "--provider", "sim", "--", "sim-agent", "--stall-ms",
                           "600000", "--lines", "2")
        wait_until("all run", lambda: [s["state"] for s in skep.status(swarm)["sandboxes"]].count("running") == count,
                   120, every_s=0.5)
        began = time.time()
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=90)
        took = time.time() - began
        assert code in (0, 79) and took < 40 * PATIENCE, (code, took)
        kills = sim.record("kill")
        lost = [f for f in sim.record("fault") if f["kind"] == "lost_reply"]
        assert sim.alive() == [] and len(kills) == count, (sim.alive(), kills)
        print(f"# {len(lost)} answers lost, all dead after {max(k['t_ms'] for k in kills) / 1000 - began:.1f} s", flush=True)
        assert lost, "no kill was left without an answer"
        spread = max(k["t_ms"] for k in kills) - min(k["t_ms"] for k in kills)
        assert spread < 10_000 * PATIENCE, f"the kills came one after the other: {spread} ms"
        # The next daemon asks again, and most of those answers are lost too: kill_attempts times the deadline
        # of a kill and a pause, 5 x (30 s + 2 s), at the longest.
        closed = skep.closed(swarm, 200)
        assert {s["result"] for s in closed["sandboxes"]} == {"cancelled"}, closed["sandboxes"]


@scenario("a daemon that leaves its swarms ends, and the next one has the same sandboxes")
def _(work):
    repo = repository(work / "repo", {"agent": COUNTS})
    with Installation(work) as skep:
        process = daemon(skep)
        swarm = skep.start(repo, "--sandboxes", "2", "--", "./agent")
        before = {s["sandbox"]: s["remote_id"] for s in skep.running(swarm, "line 5")["sandboxes"]}
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0, process.stderr.read()
        at_end = {name: len(skep.log_text(f"{swarm}/{name}")) for name in ("p0", "p1")}  # starts the next daemon
        wait_until("both go on", lambda: all(len(skep.log_text(f"{swarm}/{n}")) > at_end[n] for n in at_end), 30)
        after = {s["sandbox"]: s["remote_id"] for s in skep.running(swarm)["sandboxes"]}
        assert after == before, (before, after)
        for name in at_end:
            lines = skep.log_text(f"{swarm}/{name}").split("\n")[:-1]
            assert lines == [f"line {i + 1}" for i in range(len(lines))], lines


@scenario("a second signal ends the daemon at once, with a code and the names of who is left")
def _(work):
    repo = repository(work / "repo", {"agent": HANGS})
    settings = '[daemon]\non_stop = "kill"\n[policy]\nshutdown_interrupt_s = 60\nshutdown_limit_s = 120\n'
    with Installation(work, config=settings) as skep:
        process = daemon(skep)
        swarm = skep.start(repo, "--", "./agent")
        skep.running(swarm, "ready")
        process.send_signal(signal.SIGTERM)
        wait_until("it is stopping", lambda: "daemon.ending_swarms" in (skep.state / "skepd.log").read_text(), 20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 79
        lines = [json.loads(line) for line in (skep.state / "skepd.log").read_text().splitlines()]
        named = [line for line in lines if line["event"] == "daemon.did_not_end"]
        assert len(named) == 1 and named[0]["who"].startswith(f"{swarm} sb_"), named
        skep.config("")
        forced = [e["body"] for e in skep.events() if e["type"] == "daemon.stop_forced"]
        assert len(forced) == 1 and forced[0]["refused"][0].startswith(swarm), forced
        assert forced[0]["refused"][0].endswith(": p0"), forced
        skep.run("kill", swarm, "--wait", code=0)


@scenario("panic on many simulated sandboxes leaves none, counted by a second client at the provider")
def _(work):
    count = int(os.environ.get("SKEP_PANIC_SANDBOXES", "100"))
    repo = repository(work / "repo", {"README": "a test\n"})
    with Simulator(work) as sim, Installation(work, config=sim.config()) as skep:
        skep.run("secret", "set", "SIM_KEY", input=KEY + "\n")
        other = sim.ask("POST", "/v2/sandboxes", {"templateID": "base", "timeout": 600, "metadata": {"owner": "else"}})
        words = ("--provider", "sim", "--", "sim-agent", "--stall-ms", "600000", "--lines", "2")
        first = skep.start(repo, "--sandboxes", str(count), *words)
        second = skep.start(repo, "--name", "second", *words)

        def living(swarm):
            listed, page = [], None
            listed = sim.ask("GET", f"/v2/sandboxes?metadata=skep.swarm%3D{swarm}&limit=100")
            return listed
        wait_until("sandboxes live", lambda: len(sim.alive()) >= count + 2, 120, every_s=0.5)
        install = living(second)[0]["metadata"]["skep.install"]
        for unknown, code in (("provider:sin", 64), ("sb_nope", 66)):
            skep.run("panic", unknown, code=code)
        found = skep.json("panic", first, limit_s=120)
        assert found["survivors"] == 0 and found["providers"] == ["sim"], found
        assert living(first) == [] and len(living(second)) == 1
        found = skep.json("panic", "--all", limit_s=120)
        assert found["survivors"] == 0, found
        # The provider's own word: what is left is not ours.
        assert living(second) == []
        assert sim.alive() == [other["sandboxID"]], sim.alive()
        again = skep.json("panic", "--all", limit_s=120)
        assert again["sandboxes"] == 0 and again["survivors"] == 0, again
        # Ours, and in no table, as after a restored backup.
        labels = {"skep.install": install, "skep.sandbox": "sb_gone"}
        sim.ask("POST", "/v2/sandboxes", {"templateID": "base", "timeout": 600, "metadata": labels})
        found = skep.json("panic", "--all", limit_s=120)
        assert found["sandboxes"] == 0 and found["providers"] == ["sim"], found
        assert found["survivors"] == 0 and sim.alive() == [other["sandboxID"]], (found, sim.alive())
        # Who does not answer is not taken for empty.
        sim.process.kill()  # as a machine that is gone: it says no good-bye to whoever is connected
        sim.process.wait()
        refused = skep.json("panic", "--all", "--limit", "2s", code=75)["error"]
        assert refused["code"] == "survivors" and "not verified: sim: " in refused["message"], refused


@scenario("a frozen agent stands still and goes on where it was")
def _(work):
    repo = repository(work / "repo", {"agent": COUNTS})
    with Installation(work) as skep:
        swarm = skep.start(repo, "--", "./agent")
        skep.running(swarm, "line 5")
        frozen = skep.json("freeze", swarm)
        assert len(frozen["sandboxes"]) == 1
        log = f"{swarm}/p0"
        last = [""]

        def stands():
            """Two looks, a second apart, at the same text."""
            before, last[0] = last[0], skep.log_text(log)
            return before == last[0] and before
        wait_until("the agent stands still", stands, 20, every_s=1)
        stood = len(last[0])
        assert skep.status(swarm)["sandboxes"][0]["frozen"]
        skep.json("thaw", swarm)
        wait_until("the agent goes on", lambda: len(skep.log_text(log)) > stood, 20)
        lines = skep.log_text(log).split("\n")[:-1]
        assert lines == [f"line {i + 1}" for i in range(len(lines))], lines
        skep.json("freeze", swarm)
        skep.run("stop", swarm, "--wait", code=0)  # a frozen agent hears the interrupt, too
        assert skep.status(swarm)["swarm"]["result"] == "cancelled"


@scenario("a drained daemon refuses runs until that is undone, also a daemon that was started again")
def _(work):
    repo = repository(work / "repo", {"agent": "#!/bin/sh\necho done\n"})
    with Installation(work) as skep:
        skep.run("drain", code=0)
        skep.run("run", "--repo", repo, "--", "./agent", code=75)
        skep.run("daemon", "stop", code=0)
        refused = skep.json("run", "--repo", repo, "--", "./agent", code=75)
        assert refused["error"]["code"] == "draining", refused
        skep.run("drain", "--undo", code=0)
        skep.run("run", "--repo", repo, "--", "./agent", code=0)


@scenario("a pane that gives no sign of life is stopped with a reason of its own")
def _(work):
    repo = repository(work / "repo", {"agent": STAYS})
    with Installation(work, config="[policy]\nidle_grace_s = 5\n") as skep:
        lines = skep.json_lines("run", "--repo", repo, "--idle-limit", "5s", "--", "./agent", code=79, limit_s=120)
        summary = lines[-1]["summary"]
        assert summary["panes"][0]["result"] == "timed_out" and summary["panes"][0]["error_code"] == "idle", summary
        told = [e for e in lines if e.get("type") == "pane.idle"]
        assert len(told) == 1, told
        text = told[0]["body"]["text"]
        assert text.startswith("p0 gave no sign of life for ") and text.endswith(" and is stopped in 5 s, $0.00 so far"), told
        assert told[0]["body"]["cost_usd"] == 0 and told[0]["body"]["cost_whole"], told
        assert "result.txt" in (repo / "skep-out" / summary["swarm"]["swarm"] / "p0.patch").read_text()


main()

#!/usr/bin/python3
"""Sandboxes that their provider loses, and their successors: whole programs against the simulator, judged by its record."""
# timeout: 400
import json

import schemas
from installation import Installation, finish, repository
from scenario import main, scenario, wait_until
from simulator import KEY, Simulator

FILES = {"README": "a work tree\n", "src/main.c": "int main() { return 0; }\n"}


def installation(work, sim, more=""):
    # A loss is believed at the second look, after 5 s and not after a minute.
    skep = Installation(work, "state", config=sim.config() + more + "[policy]\nloss_looks = 2\n")
    skep.run("secret", "set", "SIM_KEY", input=KEY + "\n")
    return skep


def run(skep, repo, *words, code=0):
    return skep.json_lines("run", "--repo", repo, "--provider", "sim", *words, code=code, limit_s=180)


@scenario("a sandbox that its provider loses gets a successor, and status, summary and events say what was lost")
def _(work):
    repo = repository(work / "repo", FILES)
    with Simulator(work) as sim, installation(work, sim, "usd_per_hour = 36\n") as skep:
        swarm = run(skep, repo, "--name", "night", "--detach", "--replace-lost", "2", "--sandboxes", "2", "--",
                    "sim-agent", "--ask", "Shall I?", "--lines", "4")[0]["run"]["swarm"]
        follow = skep.popen("logs", "-f", "--json", swarm)
        before = skep.running(swarm, "Shall I?")
        lost = before["sandboxes"][0]
        # A second client with the same key, as a person at the provider's web page.
        sim.ask("DELETE", f"/sandboxes/{lost['remote_id']}")
        after = wait_until("a successor runs", lambda: [s for s in [skep.status(swarm)] if s["replacements"] and
                                                        sum(x["state"] == "running" for x in s["sandboxes"]) == 2], 100)[0]
        told = after["replacements"][0]
        assert told["lost"] == lost["sandbox"] and told["number"] == 1 and told["base_commit"] == lost["base_commit"], told
        assert told["last_sync_at_ms"] > 0 and told["output_bytes"] > 0 and told["cost_usd"] > 0, told
        gone = next(s for s in after["sandboxes"] if s["sandbox"] == lost["sandbox"])
        assert gone["result"] == "lost" and gone["error_step"], gone
        fresh = next(s for s in after["sandboxes"] if s["sandbox"] == told["successor"])
        assert fresh["index"] == lost["index"], fresh
        text = skep.run("status", swarm, code=0).stdout
        assert "Replaced:" in text and "was lost" in text and lost["sandbox"] in text, text
        wait_until("its agent asks as well", lambda: all(
            "Shall I?" in skep.log_text(p["pane"]) for p in skep.status(swarm)["panes"] if p["sandbox"] == told["successor"]), 60)
        for pane in [p for p in skep.status(swarm)["panes"] if p["state"] == "running"]:
            skep.json("send", pane["pane"], "yes")
        end = skep.closed(swarm, 100)
        assert end["swarm"]["result"] == "completed", end["swarm"]
        # Whoever followed the swarm saw the successor's pane from its first byte to its last.
        code, text, err = finish(follow)
        assert code == 0, (code, err)
        pane = next(p for p in end["panes"] if p["sandbox"] == told["successor"])
        shown = "".join(piece["text"] for piece in map(json.loads, text.splitlines()) if piece["pane"] == pane["pane"])
        assert "Shall I?" in shown and shown == skep.log_text(pane["pane"]), shown
        assert skep.log_text(f"{swarm}/{pane['name']}") == shown
        kinds = [e["type"] for e in skep.events(swarm)]
        assert kinds.count("swarm.sandbox_replaced") == 1, kinds
        out = repo / "skep-out" / swarm
        summary = json.loads((out / "summary.json").read_text())
        schemas.check(summary, "summary")
        assert [r["lost"] for r in summary["replacements"]] == [lost["sandbox"]], summary
        assert sorted(p.name for p in out.glob("*.log")) == ["p0.log", "p0.lost-1.log", "p1.log"], list(out.iterdir())
        assert sorted(p.name for p in out.glob("p*.patch")) == ["p0.patch", "p1.patch"]
        assert len(sim.record("create")) == 3 and sim.alive() == []


@scenario("sandboxes that die early are replaced as often as the run allows, and the rest is lost")
def _(work):
    repo = repository(work / "repo", FILES)
    play = {"faults": {"early_death_percent": 100, "early_death_ms": 3000}}
    with Simulator(work, scenario=play) as sim, installation(work, sim) as skep:
        lines = run(skep, repo, "--replace-lost", "2", "--", "sim-agent", "--lines", "100000", "--interval-ms", "100", code=None)
        status = lines[-1]["summary"]
        assert status["swarm"]["result"] == "lost", status["swarm"]
        assert [r["number"] for r in status["replacements"]] == [1, 2], status["replacements"]
        assert [s["result"] for s in status["sandboxes"]] == ["lost"] * 3, status["sandboxes"]
        assert len(sim.record("create")) == 3 and sim.alive() == []
        assert {k["why"] for k in sim.record("kill")} == {"died"}


@scenario("a daemon that is killed while a successor is made makes exactly one")
def _(work):
    repo = repository(work / "repo", FILES)
    # The kill may come between the intent to create and the request: then the next daemon makes it once both
    # are over, 60 s instead of the 180 s of the defaults.
    soon = "create_timeout_s = 20\nfirst_lease_s = 40\n"
    with Simulator(work) as sim, installation(work, sim, soon) as skep:
        swarm = run(skep, repo, "--name", "night", "--detach", "--replace-lost", "1", "--", "sim-agent", "--lines", "100000",
                    "--interval-ms", "100")[0]["run"]["swarm"]
        lost = skep.running(swarm)["sandboxes"][0]
        sim.ask("DELETE", f"/sandboxes/{lost['remote_id']}")
        wait_until("the loss is known", lambda: skep.status(swarm)["replacements"], 100)
        skep.kill_daemon()
        wait_until("its successor runs", lambda: [s for s in skep.status(swarm)["sandboxes"] if s["state"] == "running"], 160)
        status = skep.status(swarm)
        assert len(status["replacements"]) == 1 and len(status["sandboxes"]) == 2, status
        skep.json("stop", swarm)
        assert skep.closed(swarm, 100)["swarm"]["result"] == "cancelled"
        made = {c["metadata"]["skep.sandbox"] for c in sim.record("create")}
        assert made == {s["sandbox"] for s in status["sandboxes"]}, made
        wait_until("none is left", lambda: sim.alive() == [], 60)


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""The journal tells everything: its events have no gap, phases only go forward, and folding them gives the state tables."""
import json
import subprocess

from installation import Installation, repository
from scenario import SOURCE, main, scenario, wait_until

PHASES = ["queued", "creating", "verifying", "provisioning", "uploading", "starting", "running", "draining",
          "collecting", "closed"]
AGENT = """#!/bin/sh
# What the run is about stands in the first argument.
case $1 in
good) echo made > made-$SKEP_PANE_INDEX.txt ;;
failed) echo "cannot do it" >&2; exit 3 ;;
stopped) echo waiting; exec cat ;;
esac
"""


def check_order(events):
    """No gap, and each sandbox and pane goes forward only and ends closed with an outcome."""
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1)), "the sequence has a gap"
    phase, sandbox_result, pane_result, seen = {}, {}, {}, {}
    for e in events:
        kind, body, sandbox = e["type"], e["body"], e["sandbox"]
        where = f"event {e['seq']} ({kind})"
        assert sandbox not in sandbox_result or kind.startswith("sandbox.kill_"), f"{where} after the sandbox's end"
        if kind == "sandbox.queued":
            phase[sandbox] = "queued"
        elif kind == "sandbox.phase_changed":
            assert PHASES.index(body["to"]) > PHASES.index(phase[sandbox]), f"{where}: back from {phase[sandbox]}"
            phase[sandbox] = body["to"]
        elif kind == "sandbox.closed":
            sandbox_result[sandbox] = body["result"]
        elif kind == "pane.created":
            seen[body["pane"]] = ["created"]
        elif kind in ("pane.start_intended", "pane.started", "pane.exited", "pane.closed"):
            assert "closed" not in seen[body["pane"]], f"{where} after the pane's end"
            seen[body["pane"]].append(kind.split(".")[1])
            if kind == "pane.closed":
                pane_result[body["pane"]] = body["result"]
    assert phase and phase.keys() == sandbox_result.keys(), "a sandbox was not closed"
    assert seen.keys() == pane_result.keys(), "a pane was not closed"
    assert "none" not in [*sandbox_result.values(), *pane_result.values()], "closed without an outcome"
    for pane, steps in seen.items():
        assert steps == ["created", "start_intended", "started", "exited", "closed"], f"{pane}: {steps}"
    return sandbox_result, pane_result


def fold(skep, text):
    """tests/peer/fold.py on the events, against the tables as sqlite3 reads them."""
    done = subprocess.run(["/usr/bin/python3", SOURCE / "tests" / "peer" / "fold.py", "--database",
                           skep.state / "skep.db"], input=text, text=True, capture_output=True)
    assert done.returncode == 0 and done.stdout.strip() == "same", done.stdout[-2000:] + done.stderr[-2000:]


def whole_life(work, kind, result, act=None):
    """One run of 2 x 2 panes that ends with `result`, and then all checks."""
    repo = repository(work / "repo", {"agent": AGENT, "README": "a tree\n"})
    with Installation(work) as skep:
        swarm = skep.start(repo, "--sandboxes", "2", "--panes", "2", "--", "./agent", kind)
        if act:
            act(skep, swarm)
        status = skep.closed(swarm)
        assert status["swarm"]["result"] == result, status["swarm"]
        # Kills are confirmed behind the swarm's end: the journal is read when nothing is under way.
        wait_until("every sandbox is gone", lambda: not skep.host_sandboxes())
        wait_until("every kill is confirmed", lambda: all(b["kill_confirmed"] for b in skep.status(swarm)["sandboxes"]))
        text = skep.run("events", "--from", "1", "--json", code=0).stdout
        boxes, panes = check_order([json.loads(line) for line in text.splitlines()])
        assert len(boxes) == 2 and len(panes) == 4, (boxes, panes)
        assert set(boxes.values()) == {result} and set(panes.values()) == {result}, (boxes, panes)
        fold(skep, text)
        # Another epoch of the daemon adds rows; the fold must follow it.
        skep.run("daemon", "stop", code=0)
        skep.run("daemon", "start", code=0)
        fold(skep, skep.run("events", "--from", "1", "--json", code=0).stdout)


@scenario("after a good run the events have no gap and fold to the rows of the state tables")
def _(work):
    whole_life(work, "good", "completed")


@scenario("after a failed run the events have no gap and fold to the rows of the state tables")
def _(work):
    whole_life(work, "failed", "failed")


@scenario("after a stopped run the events have no gap and fold to the rows of the state tables")
def _(work):
    def stop(skep, swarm):
        skep.running(swarm)
        skep.run("stop", swarm, code=0)
    whole_life(work, "stopped", "cancelled", stop)


main()

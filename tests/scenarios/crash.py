#!/usr/bin/python3
"""kill -9 of skepd at any time: the next one has the same swarm, starts no agent twice and loses no byte of output."""
# timeout: 700
import hashlib
import json
from pathlib import Path

from installation import Installation, repository
from processes import processes
from scenario import main, scenario, wait_until

LEAST = 2 * 1024 * 1024

# Writes numbered lines in small steps until it was told to end and wrote enough.
WRITER = """#!/usr/bin/python3
import os, select
index = os.environ["SKEP_PANE_INDEX"]
with open(os.path.expanduser("~/starts-" + index), "a") as starts:
    starts.write("started\\n")
end = os.path.expanduser("~/end-" + index)
number = written = 0
while written < %d or not os.path.exists(end):
    lines = b"".join(b"pane %%s line %%09d %%s\\n" %% (index.encode(), number + i, b"x" * 70) for i in range(40))
    number += 40
    while lines:
        n = os.write(1, lines)
        written += n
        lines = lines[n:]
    select.select([], [], [], 0.01)  # sleep: the pace, about 300 KiB a second
""" % LEAST


def ids_of(listed):
    return {name: sorted(row[name[:-1] if name != "sandboxes" else "sandbox"] for row in listed[name])
            for name in ("swarms", "sandboxes", "panes")}


@scenario("after two kill -9 of skepd the ids are the same, no agent was started twice and every log is whole")
def _(work):
    repo = repository(work / "repo", {"writer": WRITER})
    with Installation(work) as skep:
        swarm = skep.start(repo, "--sandboxes", "2", "--panes", "2", "--keep", "--", "./writer")
        status = skep.running(swarm)
        panes = status["panes"]
        remote = {b["sandbox"]: b["remote_id"] for b in status["sandboxes"]}
        before = ids_of(skep.json("ps"))
        assert [len(before[k]) for k in ("swarms", "sandboxes", "panes")] == [1, 2, 4], before

        def sizes():
            return [skep.log_of(p).stat().st_size if skep.log_of(p).exists() else 0 for p in panes]

        grown = [100_000] * 4
        for kill in (1, 2):
            wait_until(f"every log grows before kill {kill}",
                       lambda: all(a > b for a, b in zip(sizes(), grown, strict=True)))
            old = skep.kill_daemon()
            at_kill = sizes()
            assert ids_of(skep.json("ps")) == before, f"other ids after kill {kill}"
            assert skep.daemon_pid() not in (None, old)
            grown = [size + 200_000 for size in at_kill]
        wait_until("every log grows after the second restart",
                   lambda: all(a > b for a, b in zip(sizes(), grown, strict=True)))
        assert all(p["state"] == "running" for p in skep.status(swarm)["panes"]), "a pane does not run any more"

        for p in panes:
            skep.write_inside(remote[p["sandbox"]], f"/home/user/end-{p['index']}", b"")
        done = skep.closed(swarm)
        assert done["swarm"]["result"] == "completed", done["swarm"]["error_text"]
        assert ids_of(done | {"swarms": [done["swarm"]]}) == before

        events = skep.events(swarm)
        for p in panes:
            mine = [e for e in events if e["body"].get("pane") == p["pane"]]
            for kind in ("pane.started", "pane.exited", "pane.closed"):
                assert len([e for e in mine if e["type"] == kind]) == 1, f"{p['name']}: {kind} is not there once"
            assert {e["body"]["attempt"] for e in mine if "attempt" in e["body"]} == {1}, p["name"]
            box = remote[p["sandbox"]]
            assert skep.read_inside(box, f"/home/user/starts-{p['index']}") == b"started\n", f"{p['name']} twice"
            inside = skep.read_inside(box, f"/home/user/.skep/panes/{p['pane']}/1/log")
            ours = skep.log_of(p).read_bytes()
            assert len(inside) >= LEAST, f"{p['name']} wrote {len(inside)} bytes only"
            assert (len(ours), hashlib.sha256(ours).digest()) == (len(inside), hashlib.sha256(inside).digest()), \
                f"{p['name']}: {len(ours)} bytes here, {len(inside)} inside"
            numbers = [int(line.split()[3]) for line in ours.splitlines()]
            assert numbers == list(range(len(numbers))), f"{p['name']}: lines are missing or out of order"
            closing = next(e["body"] for e in mine if e["type"] == "pane.closed")
            assert closing["final_offset"] == len(ours), closing
        assert {s["sandboxID"] for s in skep.host_sandboxes()} == set(remote.values()), "--keep kept other sandboxes"


def inside(skep, word):
    """True when skep-guest runs the program `word` in a sandbox of this installation."""
    boxes = [name.name.encode() for name in (skep.host_dir() / "holders").iterdir()]
    for pid, cmdline in processes():
        words = cmdline.split(b"\0")
        if not words[0].endswith(b"/skep-guest") or word.encode() not in words:
            continue
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if any(b"E2B_SANDBOX_ID=" + box in environment for box in boxes):
            return True
    return False


def killed_at(work, event_type, guest_runs="", files=40):
    """Kills skepd as soon as the journal shows the event (and skep-guest runs this program); the swarm must end well
    and leave nothing."""
    agent = "#!/bin/sh\necho started >> ~/starts-$SKEP_PANE_INDEX\ncat ~/starts-$SKEP_PANE_INDEX > starts-$SKEP_PANE_INDEX\n"
    repo = repository(work / "repo", {"agent": agent, **{f"file-{i}": f"{i} " * 2000 for i in range(files)}})
    with Installation(work) as skep:
        skep.run("daemon", "start", code=0)
        watch = skep.popen("events", "-f", "--from", "1", "--json")
        swarm = skep.start(repo, "--sandboxes", "2", "--panes", "2", "--", "./agent")
        for line in watch.stdout:
            if json.loads(line)["type"] == event_type:
                break
        if guest_runs:
            wait_until(f"skep-guest runs {guest_runs}", lambda: inside(skep, guest_runs))
        skep.kill_daemon()
        watch.kill()
        assert [s["swarm"] for s in skep.json("ps", "--all")["swarms"]] == [swarm]
        done = skep.closed(swarm, 300)  # a create that nobody answered is settled after 180 s
        assert done["swarm"]["result"] == "completed", done["swarm"]["error_text"]
        assert len(done["panes"]) == 4 and all(p["result"] == "completed" for p in done["panes"]), done["panes"]
        for p in done["panes"]:
            patch = repo / "skep-out" / swarm / f"{p['name']}.patch"
            assert patch.read_text().count("\n+started") == 1, f"{p['name']} was not started exactly once"
        wait_until("the host has no sandbox left", lambda: not skep.host_sandboxes())
        place = skep.host_dir()
        wait_until("no file of a sandbox is left on the host",
                   lambda: not any(any((place / n).iterdir()) for n in ("holders", "sandboxes")))
        creates = [e for e in skep.events() if e["type"] == "sandbox.created"]
        assert len({e["body"]["remote_id"] for e in creates}) == len(creates), "one sandbox was counted twice"


@scenario("kill -9 of skepd while it creates sandboxes leaves none behind and the swarm completes")
def _(work):
    killed_at(work, "sandbox.create_intended")


@scenario("kill -9 of skepd just after a sandbox was created leaves none behind and the swarm completes")
def _(work):
    killed_at(work, "sandbox.created")


@scenario("kill -9 of skepd while it uploads leaves no sandbox behind and the swarm completes")
def _(work):
    killed_at(work, "transfer.intended")


@scenario("kill -9 of skepd while the tree is unpacked inside leaves no sandbox behind and the swarm completes")
def _(work):
    killed_at(work, "transfer.intended", guest_runs="unpack", files=1500)


@scenario("kill -9 of skepd while agents start starts none of them twice")
def _(work):
    killed_at(work, "pane.start_intended")


main()

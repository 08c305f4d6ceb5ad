#!/usr/bin/python3
"""A disk that fails under skepd: a sync of the journal, no room for a pane's log, for results or for a kept pack. The simulator gives the
sandboxes; a preloaded library (tests/support/disk_faults.c) the failures."""
# presets: dev

import schemas
from crash_runs import Daemon, rows
from installation import Installation, repository
from scenario import BIN, main, scenario, wait_until
from simulator import KEY, Simulator

SLOW = {"agent": {"lines": 400, "interval_ms": 20, "files": 1}}
QUICK = {"agent": {"lines": 10, "interval_ms": 10, "files": 1}}


class FailingDisk:
    """A skepd whose disk fails as the rules say, from when they are written on."""

    def __init__(self, work, skep):
        self.rules = work / "rules"
        skep.environment |= {"LD_PRELOAD": str(BIN.parent / "lib" / "libskep_disk_faults.so"),
                             "SKEP_DISK_FAULTS": str(self.rules)}
        self.daemon = Daemon(skep)
        self.daemon.start()
        for name in ("LD_PRELOAD", "SKEP_DISK_FAULTS"):
            del skep.environment[name]
        self.daemon.await_socket()

    def fail(self, *rules):
        self.rules.write_text("".join(rule + "\n" for rule in rules))

    def heal(self):
        self.rules.unlink()


def prepared(work, sim, more=""):
    skep = Installation(work, config=sim.config() + more)
    skep.run("secret", "set", "SIM_KEY", input=KEY + "\n", code=0)
    return skep


@scenario("a sync of the journal that fails ends skepd with exit code 74, and log, status and the next daemon say so")
def _(work):
    repo = repository(work / "repo", {"file.txt": "text\n"})
    with Simulator(work, scenario=SLOW) as sim, prepared(work, sim) as skep:
        disk = FailingDisk(work, skep)
        swarm = skep.start(repo, "--provider", "sim", "--panes", "2", "--", "./agent")
        skep.running(swarm)
        before = skep.events()
        disk.fail("sync skep.db-wal")
        # Any fact will do: a command that is acknowledged only when it is on disk, which it never is.
        asked = skep.run("send", f"{swarm}/p0", "hello", limit_s=90)
        assert asked.returncode != 0, "a command was acknowledged that is not on disk"
        assert disk.daemon.process.wait(timeout=60) == 74, disk.daemon.process.returncode
        assert "the journal could not be committed" in (skep.state / "skepd.err").read_text()
        assert "journal_failed" in (skep.state / "skepd.log").read_text()
        plan = skep.json("recover", "--plan")
        assert plan["daemon_pid"] == 0 and plan["last_failure"], plan
        assert [s["action"] for s in plan["steps"]].count("follow_pane") == 2, plan
        said = skep.run("daemon", "status")
        assert said.returncode == 69 and "had to end" in said.stderr, (said.returncode, said.stderr)
        disk.heal()
        done = skep.closed(swarm, 120)
        assert done["swarm"]["result"] == "completed", done["swarm"]
        events = skep.events()
        assert events[:len(before)] == before, "an acknowledged event is gone"
        told = [e["body"] for e in events if e["body"].get("code") == "journal_failed"]
        assert len(told) == 1 and told[0]["level"] == "error", told
        assert not (skep.state / "failure").exists()


def outcomes(skep, swarm):
    return {b["index"]: b["result"] for b in skep.status(swarm)["sandboxes"]}


def notices(skep, swarm, code):
    return [e["body"] for e in skep.events(swarm) if e["body"].get("code") == code]


@scenario("a full disk under one pane's log fails nothing, the other sandbox completes meanwhile, and the log is whole once there is room")
def _(work):
    repo = repository(work / "repo", {"file.txt": "text\n"})
    with Simulator(work, scenario=SLOW) as sim, prepared(work, sim) as skep:
        disk = FailingDisk(work, skep)
        swarm = skep.start(repo, "--provider", "sim", "--sandboxes", "2", "--", "./agent")
        panes = sorted(skep.running(swarm)["panes"], key=lambda p: p["index"])
        disk.fail(f"full logs/{swarm}/{panes[0]['pane']}")
        wait_until("the other one is done", lambda: outcomes(skep, swarm).get(1) == "completed", 60, every_s=0.2)
        assert outcomes(skep, swarm)[0] not in ("failed", "completed"), skep.status(swarm)["sandboxes"]
        told = notices(skep, swarm, "output_waits_for_room")
        assert len(told) == 1 and told[0]["level"] == "warning", told
        short = skep.log_of(panes[0])
        before = short.read_bytes() if short.exists() else b""
        disk.heal()
        done = skep.closed(swarm, 120)
        assert outcomes(skep, swarm) == {0: "completed", 1: "completed"}, done["sandboxes"]
        text, other = (skep.log_of(p).read_bytes() for p in panes)
        assert text.startswith(before) and len(text) > len(before), (len(before), len(text))
        assert text.count(b"\n") == other.count(b"\n"), (text.count(b"\n"), other.count(b"\n"))
        assert (repo / "skep-out" / swarm / "p0.log").read_bytes() == text
        assert len(notices(skep, swarm, "output_waited")) == 1
        assert not notices(skep, swarm, "output_incomplete")
        assert not [e for e in skep.events(swarm) if e["type"] == "sandbox.poll_failed"]
        assert not disk.daemon.ended(), "skepd ended"
        wait_until("no sandbox is left", lambda: not sim.alive(), 60)


@scenario("a run that is stopped while a full disk holds its output back ends, with its work, and its log is marked as incomplete")
def _(work):
    repo = repository(work / "repo", {"file.txt": "text\n"})
    with Simulator(work, scenario=SLOW) as sim, prepared(work, sim) as skep:
        disk = FailingDisk(work, skep)
        swarm = skep.start(repo, "--provider", "sim", "--", "./agent")
        pane = skep.running(swarm)["panes"][0]
        disk.fail(f"full logs/{swarm}/{pane['pane']}")
        wait_until("its output waits", lambda: notices(skep, swarm, "output_waits_for_room"), 60, every_s=0.2)
        skep.run("stop", swarm, code=0)
        done = skep.closed(swarm, 120)
        assert done["swarm"]["result"] == "cancelled", done["swarm"]
        assert done["panes"][0].get("output_incomplete"), done["panes"]
        assert (repo / "skep-out" / swarm / "p0.patch").exists()
        assert not disk.daemon.ended(), "skepd ended"
        wait_until("no sandbox is left", lambda: not sim.alive(), 60)


@scenario("a full disk under the results of one pane holds up that pane alone, and loses nothing once there is room")
def _(work):
    repo = repository(work / "repo", {"file.txt": "text\n"})
    with Simulator(work, scenario=QUICK) as sim, prepared(work, sim) as skep:
        disk = FailingDisk(work, skep)
        disk.fail("full /p0.patch", "full /p0/files/")
        swarm = skep.start(repo, "--provider", "sim", "--sandboxes", "2", "--", "./agent")

        def told():
            return [e["body"] for e in skep.events(swarm) if e["body"].get("code") == "results_wait_for_room"]
        wait_until("one pane waits for room, and the other one is done",
                   lambda: told() and outcomes(skep, swarm).get(1) == "completed", 60, every_s=0.2)
        out = repo / "skep-out" / swarm
        assert not (out / "p0.patch").exists() and not (out / "p0").exists(), list(out.iterdir())
        disk.heal()
        done = skep.closed(swarm, 120)
        assert outcomes(skep, swarm) == {0: "completed", 1: "completed"}, done["sandboxes"]
        assert [t["state"] for t in done["transfers"] if t["direction"] == "download"] == ["done", "done"], done["transfers"]
        assert (out / "p0.patch").exists() and len(told()) == 1
        assert not disk.daemon.ended(), "skepd ended"
        assert rows(skep, "PRAGMA quick_check")[0]["quick_check"] == "ok"
        wait_until("no sandbox is left", lambda: not sim.alive(), 60)
        assert disk.daemon.stop() == 0


@scenario("work that the disk had no room for in time stays in its sandbox, and skep diff fetches it from there")
def _(work):
    repo = repository(work / "repo", {"file.txt": "text\n"})
    with Simulator(work, scenario=QUICK) as sim, prepared(work, sim, "[policy]\ndownload_deadline_s = 10\n") as skep:
        disk = FailingDisk(work, skep)
        disk.fail("full /p0.patch")
        swarm = skep.start(repo, "--provider", "sim", "--", "./agent")
        done = skep.closed(swarm, 120)
        disk.heal()
        box = done["sandboxes"][0]
        assert box["result"] == "failed" and box["error_code"] == "disk_full" and box["kept"], box
        fetch = f"skep diff {swarm}/p0 --patch"
        assert fetch in (repo / "skep-out" / swarm / "summary.json").read_text()
        assert len(sim.alive()) == 1
        found = skep.run("diff", f"{swarm}/p0", "--patch", code=0)
        assert "diff --git" in found.stdout and "still in its sandbox" in found.stderr, found
        assert "not compared" not in found.stderr, found
        looked = schemas.check(skep.json("diff", f"{swarm}/p0"), "diff")
        assert [p["patch_origin"] for p in looked["panes"]] == ["proven"] and looked["scan"]["high"] == 0, looked
        skep.run("kill", swarm, code=0)
        wait_until("no sandbox is left", lambda: not sim.alive(), 60)
        wait_until("what was uploaded is gone, too", lambda: not (skep.state / "work" / swarm).exists(), 60)
        assert disk.daemon.stop() == 0


# Makes a link as `python3 -m venv` does.
LINKING = """#!/bin/sh
echo done > done.txt
ln -s /usr/bin/python3 outside
"""


@scenario("of work that was left in its sandbox a symlink that leaves the tree costs that link alone, also after a restart of the daemon")
def _(work):
    repo = repository(work / "repo", {"agent": LINKING})
    with Installation(work, config="[policy]\ndownload_deadline_s = 10\n") as skep:
        disk = FailingDisk(work, skep)
        disk.fail("full /p0.patch")
        swarm = skep.start(repo, "--", "./agent")
        done = skep.closed(swarm, 120)
        disk.heal()
        box = done["sandboxes"][0]
        assert box["error_code"] == "disk_full" and box["kept"], box
        left = skep.state / "work" / swarm

        def fetched():
            found = schemas.check(skep.json("diff", f"{swarm}/p0"), "diff")
            assert [c["path"] for c in found["panes"][0]["changes"]] == ["done.txt"], found
            assert found["panes"][0]["patch_origin"] == "without_links", found
            text = skep.run("diff", f"{swarm}/p0", "--patch", code=0)
            assert "made outside a symlink to /usr/bin/python3, out of its tree" in text.stderr, text.stderr
            assert "+done" in text.stdout and "outside" not in text.stdout, text.stdout
        wait_until("only what was uploaded is left of its work", lambda: [p.name for p in left.iterdir()] == ["worktree.tar"])
        fetched()
        assert disk.daemon.stop() == 0
        skep.json("daemon", "start")
        fetched()
        # Without what was uploaded nothing can be compared, and no patch without the link be made.
        (left / "worktree.tar").rename(work / "worktree.tar")
        refused = skep.json("diff", f"{swarm}/p0", code=None)
        assert refused["error"]["code"] == "unsafe_archive" and "not here any more" in refused["error"]["cause"], refused
        (work / "worktree.tar").rename(left / "worktree.tar")
        skep.run("kill", swarm, code=0)
        wait_until("no sandbox is left", lambda: not skep.host_sandboxes(), 60)
        wait_until("what was uploaded is gone, too", lambda: not left.exists(), 60)


@scenario("a full disk under the pack that is to be kept costs the run nothing, leaves no half pack and is told once")
def _(work):
    repo = repository(work / "repo", {"file.txt": "text\n"})
    with Simulator(work, scenario=QUICK) as sim, prepared(work, sim) as skep:
        disk = FailingDisk(work, skep)

        def run():
            swarm = skep.start(repo, "--provider", "sim", "--sandboxes", "2", "--", "./agent")
            done = skep.closed(swarm, 120)
            assert outcomes(skep, swarm) == {0: "completed", 1: "completed"}, done["sandboxes"]
            return [e["body"] for e in skep.events(swarm) if e["body"].get("code") in ("pack_not_kept", "pack_reused")]

        disk.fail("full /packs/")
        told = run()
        assert [x["code"] for x in told] == ["pack_not_kept"] and told[0]["level"] == "warning", told
        assert "disk_full" in told[0]["text"] or "No space left" in told[0]["text"], told
        left = [p for p in (skep.state / "packs").rglob("*") if p.is_file()]
        assert not left, left
        disk.heal()
        assert run() == []
        assert [x["code"] for x in run()] == ["pack_reused"]
        assert not disk.daemon.ended(), "skepd ended"
        assert disk.daemon.stop() == 0


main()

#!/usr/bin/python3
"""Large uploads travel in parts: a cut costs one part, a daemon's death none that arrived, a changed byte the run."""
import itertools
import os
import random
import signal

from cutting_proxy import FOLDER, CuttingProxy
from host_server import KEY, Server
from installation import Installation, repository
from processes import alive
from scenario import main, scenario, wait_until

PART = 64 * 1024
PARTS = 6  # of an archive of 5.5 parts


def large_repository(path):
    """What does not compress; an untracked file keeps the pack of HEAD out of the upload."""
    repo = repository(path)
    (repo / "large").write_bytes(random.Random(7).randbytes(PART * 11 // 2))
    return repo


def settings(proxy):
    return (f'[providers.far]\napi_url = "{proxy.url}"\nsandbox_url = "{proxy.url}"\nkey = "FAR_KEY"\nkind = "e2b"\n'
            f"[policy]\nupload_part_kib = {PART // 1024}\n")


def names(*numbers):
    return [f"worktree.tar.{n:05d}" for n in numbers]


class HostsDisk:
    """The parts of an upload as the receiving host has them on its own disk, looked at before each request that goes to it."""

    def __init__(self, host):
        self.sandboxes = host.work / "state" / "sandboxes"
        self.begun = []     # the part that is about to come, and those that were there whole before it
        self.versions = {}  # of each but the last, which is shorter: every (inode, time of the last write) that it had when whole

    def look(self, line):
        whole = []
        for file in self.sandboxes.glob("*/home" + FOLDER + "*"):
            try:
                facts = file.stat()
            except FileNotFoundError:  # all are removed at the end
                continue
            if facts.st_size == PART:
                whole.append(file.name)
                self.versions.setdefault(file.name, set()).add((facts.st_ino, facts.st_mtime_ns))
        if FOLDER in line and line.startswith("POST /files"):
            self.begun.append((next(n for n in names(*range(1, PARTS + 1)) if n in line), sorted(whole)))

    def check(self, k):
        """Parts 1 to k were there when it was cut, and none of them was written again; the others came once each."""
        order = [*range(1, k + 2), *range(k + 1, PARTS + 1)]  # the one that was cut begins twice
        assert self.begun == [(names(n)[0], names(*range(1, n))) for n in order], self.begun
        written = {name: len(versions) for name, versions in self.versions.items()}
        assert written == dict.fromkeys(names(*range(1, PARTS)), 1), written


AGENT = ("sh", "-c", "cmp large $HOME/repo/large && sha256sum large >sum")


@scenario("a connection that is cut in a part costs that part alone")
def _(work):
    repo = large_repository(work / "repo")
    with Server() as host, CuttingProxy(host.url) as proxy, Installation(work, config=settings(proxy)) as skep:
        skep.run("secret", "set", "FAR_KEY", input=KEY + "\n")
        for k in (2, 4):  # parts that arrive before the cut
            disk = HostsDisk(host)
            proxy.count_anew()
            proxy.look, proxy.cut_at = disk.look, k + 1
            lines = skep.json_lines("run", "--repo", repo, "--provider", "far", "--", *AGENT, limit_s=120)
            summary = lines[-1]["summary"]
            assert summary["panes"][0]["result"] == "completed", summary
            assert proxy.arrived == names(1, 2, 3, 4, 5, 6), proxy.arrived
            disk.check(k)
            told = [e["body"] for e in skep.events(summary["swarm"]["swarm"]) if e["type"] == "transfer.progress"]
            # One that takes longer than a second is told of meanwhile.
            assert [n for n, _ in itertools.groupby(x["parts_done"] for x in told)] == [0, 1, 2, 3, 4, 5, 6], told
            assert told[-1]["done_bytes"] == told[-1]["size_bytes"] > 5 * PART, told[-1]


@scenario("a daemon that is killed between two parts finds the first ones inside")
def _(work):
    repo = large_repository(work / "repo")
    with Server() as host, CuttingProxy(host.url) as proxy, Installation(work, config=settings(proxy)) as skep:
        skep.run("secret", "set", "FAR_KEY", input=KEY + "\n")
        skep.run("daemon", "start", code=0)
        for k in (1, 3):  # parts that arrive before the kill
            disk = HostsDisk(host)
            proxy.count_anew()
            pid = skep.json("daemon", "status")["pid"]
            proxy.look = disk.look
            proxy.at_part[k + 1] = lambda pid=pid: os.kill(pid, signal.SIGKILL)
            swarm = skep.start(repo, "--provider", "far", "--", *AGENT)
            wait_until("the daemon is gone", lambda pid=pid: not alive(pid), 60)
            before = list(proxy.arrived)
            assert before == names(*range(1, k + 1)), before
            status = skep.closed(swarm, 120)  # asking starts the next daemon
            assert status["panes"][0]["result"] == "completed", status
            assert proxy.arrived[k:] == names(*range(k + 1, PARTS + 1)), proxy.arrived
            disk.check(k)
            assert len([e for e in skep.events(swarm) if e["type"] == "pane.started"]) == 1


@scenario("one byte that changed on the way fails the upload and ends the sandbox before an agent starts")
def _(work):
    repo = large_repository(work / "repo")
    with Server() as host, CuttingProxy(host.url) as proxy, Installation(work, config=settings(proxy)) as skep:
        skep.run("secret", "set", "FAR_KEY", input=KEY + "\n")
        proxy.change_at = 2
        lines = skep.json_lines("run", "--repo", repo, "--provider", "far", "--", *AGENT, code=74, limit_s=120)
        summary = lines[-1]["summary"]
        assert summary["sandboxes"][0]["error_code"] == "verification", summary
        assert "worktree.tar.00002" in summary["sandboxes"][0]["error_text"], summary
        kinds = [e["type"] for e in skep.events(summary["swarm"]["swarm"])]
        assert "pane.started" not in kinds and "sandbox.kill_confirmed" in kinds, kinds


main()

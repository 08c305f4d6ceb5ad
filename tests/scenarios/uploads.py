#!/usr/bin/python3
"""Large uploads travel in parts: a cut costs one part, a daemon's death none that arrived, a changed byte the run."""
import os
import random
import signal

from cutting_proxy import CuttingProxy
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


AGENT = ("sh", "-c", "cmp large $HOME/repo/large && sha256sum large >sum")


@scenario("a connection that is cut in a part costs that part alone")
def _(work):
    repo = large_repository(work / "repo")
    with Server() as host, CuttingProxy(host.url) as proxy, Installation(work, config=settings(proxy)) as skep:
        skep.run("secret", "set", "FAR_KEY", input=KEY + "\n")
        proxy.cut_at = 3
        lines = skep.json_lines("run", "--repo", repo, "--provider", "far", "--", *AGENT, limit_s=120)
        summary = lines[-1]["summary"]
        assert summary["panes"][0]["result"] == "completed", summary
        assert proxy.arrived == names(1, 2, 3, 4, 5, 6), proxy.arrived
        told = [e["body"] for e in skep.events(summary["swarm"]["swarm"]) if e["type"] == "transfer.progress"]
        assert [x["parts_done"] for x in told] == [1, 2, 3, 4, 5, 6], told
        assert told[-1]["done_bytes"] == told[-1]["size_bytes"] > 5 * PART, told[-1]


@scenario("a daemon that is killed between two parts finds the first ones inside")
def _(work):
    repo = large_repository(work / "repo")
    with Server() as host, CuttingProxy(host.url) as proxy, Installation(work, config=settings(proxy)) as skep:
        skep.run("secret", "set", "FAR_KEY", input=KEY + "\n")
        skep.run("daemon", "start", code=0)
        pid = skep.json("daemon", "status")["pid"]
        proxy.at_part[4] = lambda: os.kill(pid, signal.SIGKILL)
        swarm = skep.start(repo, "--provider", "far", "--", *AGENT)
        wait_until("the daemon is gone", lambda: not alive(pid), 60)
        before = list(proxy.arrived)
        assert before == names(1, 2, 3), before
        status = skep.closed(swarm, 120)  # asking starts the next daemon
        assert status["panes"][0]["result"] == "completed", status
        assert proxy.arrived[3:] == names(4, 5, 6), proxy.arrived
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

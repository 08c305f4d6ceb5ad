#!/usr/bin/python3
"""The local host has the settings of its daemon: changed ones are in force at once, sandboxes that live go on."""
import json

from installation import Installation, repository
from processes import wait_for_end
from scenario import main, program, run, scenario, with_mounts


def shown(work, name):
    """A folder outside of /usr with one file in it."""
    folder = work / name
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "mark").write_text(name)
    work.chmod(0o711)  # a service user passes through
    return folder


def binding(folder):
    return f"[local]\nbind = [{json.dumps(str(folder))}]\n"


@scenario("another [local] bind is in force with the next daemon, and a sandbox that lives goes on")
def _(work):
    repo = repository(work / "repo")
    first, second = shown(work, "first"), shown(work, "second")
    with Installation(work, config=binding(first)) as skep:
        # It runs over the change: what it says before and after comes from one agent.
        old = skep.start(repo, "--limit", "5min", "--", "sh", "-c",
                         f"cat {first}/mark; while read line; do echo got $line; done; ls {second} && echo seen")
        pane = skep.running(old, "first")["panes"][0]
        before = skep.host_file()
        holder = skep.holders()
        skep.json("daemon", "stop", "--force")
        skep.config(binding(second))
        new = skep.json_lines("run", "--repo", repo, "--", "sh", "-c", f"cat {second}/mark; test ! -e {first}")
        assert new[-1]["summary"]["panes"][0]["result"] == "completed", new[-1]
        after = skep.host_file()
        assert after["pid"] != before["pid"] and after["tag"] != before["tag"], (before, after)
        assert after["url"] == before["url"], "clients of the former host would not find this one"
        assert wait_for_end(before["pid"], 1), "the host with the former settings still runs"
        # The first sandbox: same holder, same agent, what it was made with.
        assert {i: p for i, p in skep.holders().items() if i in holder} == holder
        assert skep.status(old)["panes"][0]["attempt"] == pane["attempt"] == 1
        skep.json("send", f"{old}/p0", "more")
        skep.running(old, "got more")
        skep.json("stop", old, "--wait")

        # Without a change nothing is replaced.
        skep.json("daemon", "stop")
        skep.json_lines("run", "--repo", repo, "--", "true")
        assert skep.host_file()["pid"] == after["pid"] == skep.host_pid()


@scenario("a host that cannot isolate ends the run as no_isolation, with the cause")
def _(work):
    repo = repository(work / "repo")
    with Installation(work) as skep:
        # The daemon, and so its host, live where bubblewrap is missing; `skep` itself sees it.
        done = run([*with_mounts("mount --bind /dev/null /usr/bin/bwrap"), program("skep"), "daemon", "start", "--json"],
                   env=skep.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = skep.json_lines("run", "--repo", repo, "--", "true", code=None)
        swarm = skep.status(lines[0]["run"]["swarm"])
        assert swarm["swarm"]["result"] == "failed", swarm
        assert swarm["swarm"]["error_code"] == "no_isolation", swarm["swarm"]
        assert "bubblewrap" in swarm["swarm"]["error_text"], swarm["swarm"]
        plain = skep.run("run", "--repo", repo, "--", "true")
        assert plain.returncode == 69 and "no_isolation" in plain.stderr + plain.stdout, plain
        assert skep.sandboxes_at_host() == [] and skep.holders() == {}
        kinds = [e["type"] for e in skep.events(swarm["swarm"]["swarm"])]
        assert kinds.count("sandbox.create_intended") == 1, "a create that cannot succeed was repeated"


main()

#!/usr/bin/python3
"""A copied or moved state directory starts nothing until its user has said whose it is."""
import os
import shutil

import schemas
from installation import Installation, repository
from scenario import main, scenario


def refused(skep, *words):
    """Nothing starts: the daemon's log, which the client shows, names the way out."""
    done = skep.run(*words)
    text = done.stdout + done.stderr
    assert done.returncode != 0 and "copied_state" in text and "skep db rebind" in text, text
    assert skep.daemon_pid() is None
    return done


@scenario("a copy with a new id leaves the original's sandboxes alone and begins anew")
def _(work):
    repo = repository(work / "repo")
    with Installation(work, "one") as one, Installation(work, "two") as two:
        swarm = one.start(repo, "--limit", "5min", "--", "sh", "-c", "echo ready; read line; echo got $line")
        one.running(swarm, "ready")
        holders = one.holders()
        two.state.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(two.state, ignore_errors=True)
        # Sockets and locks are not copied; what is, is a consistent database.
        one.json("daemon", "stop", "--force")
        shutil.copytree(one.state, two.state, ignore=shutil.ignore_patterns("*.sock", "lock"), symlinks=True)
        refused(two, "daemon", "start")
        refused(two, "run", "--repo", repo, "--", "true")
        done = schemas.check(two.json("db", "rebind", "--new-id"), "db-rebind")
        assert done["install"] == two.install_id() != one.install_id(), done
        assert (done["closed_swarms"], done["closed_sandboxes"]) == (1, 1), done
        found = two.status(swarm)
        assert found["swarm"]["result"] == "lost" and found["swarm"]["error_code"] == "copied_state", found["swarm"]
        two.json_lines("run", "--repo", repo, "--", "true")
        # The original knows nothing of all this.
        assert one.holders() == holders
        one.json("send", f"{swarm}/p0", "on")
        assert one.closed(swarm)["swarm"]["result"] == "completed"


@scenario("a moved state directory keeps its id and goes on with its sandboxes")
def _(work):
    repo = repository(work / "repo")
    with Installation(work, "one") as one, Installation(work, "two") as two:
        swarm = one.start(repo, "--keep", "--limit", "5min", "--", "true")
        assert one.closed(swarm)["swarm"]["result"] == "completed"
        name = one.install_id()
        one.json("daemon", "stop")
        shutil.rmtree(two.state, ignore_errors=True)
        os.rename(one.state, two.state)
        refused(two, "daemon", "start")
        assert two.json("db", "rebind", "--keep-id")["install"] == name
        assert two.status(swarm)["swarm"]["result"] == "completed"
        two.json("kill", swarm)


main()

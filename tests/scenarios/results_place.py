#!/usr/bin/python3
"""Results where nobody waits for them: of a pane that still works, and when the folder for them has become something else."""
# timeout: 200
import fcntl
import os
import shutil

import schemas
from installation import Installation, repository
from scenario import main, scenario, wait_until

# Changes a file, stages another one, says so, and goes on when it hears a line.
AGENT = """#!/bin/sh
echo committed > done.txt && git add done.txt && git commit -q -m "first half"
echo more >> README
echo staged > staged.txt && git add staged.txt
git rev-parse HEAD > /home/user/before$SKEP_PANE_INDEX && git status --porcelain >> /home/user/before$SKEP_PANE_INDEX
echo half
read line
git rev-parse HEAD > /home/user/after$SKEP_PANE_INDEX && git status --porcelain >> /home/user/after$SKEP_PANE_INDEX
cmp /home/user/before$SKEP_PANE_INDEX /home/user/after$SKEP_PANE_INDEX && echo untouched
echo rest > rest.txt
"""


@scenario("diff of a pane that still works shows what it has changed so far, and its HEAD and index stay")
def _(work):
    repo = repository(work / "repo", {"README": "a tree\n", "agent": AGENT})
    with Installation(work) as skep:
        swarm = skep.start(repo, "--name", "half", "--panes", "2", "--", "./agent")
        skep.running(swarm, "half")
        wait_until("the first pane is half done", lambda: "half" in skep.log_text(skep.status(swarm)["panes"][0]["pane"]))
        for target in (f"{swarm}/p0", "half/p0", skep.status(swarm)["panes"][0]["pane"]):
            found = schemas.check(skep.json("diff", target), "diff")
            assert found["live"] and [p["name"] for p in found["panes"]] == ["p0"], found
            changed = {c["path"]: c["change"] for c in found["panes"][0]["changes"]}
            assert changed == {"README": "modified", "done.txt": "added", "staged.txt": "added"}, changed
            assert found["panes"][0]["patch"] == "" and found["folder"] == "", found
        text = skep.run("diff", f"{swarm}/p0", code=0)
        assert "p0 still works" in text.stderr and "staged.txt" in text.stdout, text
        patch = skep.run("diff", f"{swarm}/p0", "--patch", code=0).stdout
        assert "+committed" in patch and "+more" in patch and "rest" not in patch, patch
        # What is taken over is what was collected, and nothing was.
        assert skep.json("apply", f"{swarm}/p0", code=None)["error"]["code"] == "no_results"
        assert skep.json("diff", swarm, code=None)["error"]["code"] == "no_results"
        for pane in ("p0", "p1"):
            skep.json("send", f"{swarm}/{pane}", "go on")
        status = skep.closed(swarm)
        assert status["swarm"]["result"] == "completed", status["swarm"]
        assert "untouched" in (repo / "skep-out" / swarm / "p0.log").read_text()
        after = schemas.check(skep.json("diff", f"{swarm}/p0"), "diff")
        assert not after["live"] and "rest.txt" in {c["path"] for c in after["panes"][0]["changes"]}, after
        assert after["panes"][0]["patch"].endswith("/p0.patch"), after


@scenario("what a killed diff of a pane that works left in the state directory goes with the next one, and nothing else of that folder")
def _(work):
    repo = repository(work / "repo", {"README": "a tree\n", "agent": AGENT})
    with Installation(work) as skep:
        swarm = skep.start(repo, "--", "./agent")
        skep.running(swarm)
        wait_until("its pane is half done", lambda: "half" in skep.log_text(skep.status(swarm)["panes"][0]["pane"]))
        looks = skep.state / "looks"
        assert not looks.exists()
        looks.mkdir(mode=0o700)
        for name, mode in (("look-KILLED", 0o1700), ("look-LIVING", 0o1700), ("look-OTHERS", 0o700)):
            (looks / name).mkdir()
            (looks / name / "p0.patch").write_text("half a patch\n")
            (looks / name).chmod(mode)
        living = os.open(looks / "look-LIVING", os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(living, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert schemas.check(skep.json("diff", f"{swarm}/p0"), "diff")["live"]
        assert sorted(p.name for p in looks.iterdir()) == ["look-LIVING", "look-OTHERS"], os.listdir(looks)
        os.close(living)
        assert schemas.check(skep.json("diff", f"{swarm}/p0"), "diff")["live"]
        assert sorted(p.name for p in looks.iterdir()) == ["look-OTHERS"], os.listdir(looks)
        assert (looks / "look-OTHERS/p0.patch").read_text() == "half a patch\n"
        skep.json("send", f"{swarm}/p0", "go on")
        skep.closed(swarm)


@scenario("results whose folder was replaced by a file are in the state directory, and status, diff and apply find them")
def _(work):
    repo = repository(work / "repo", {"README": "a tree\n", "agent": AGENT})
    out = work / "results"
    with Installation(work) as skep:
        swarm = skep.start(repo, "--out", str(out), "--", "./agent")
        skep.running(swarm, "half")
        shutil.rmtree(out)
        out.write_text("mine\n")
        skep.json("send", f"{swarm}/p0", "go on")
        status = schemas.check(skep.closed(swarm), "status")
        assert status["swarm"]["result"] == "completed", status["swarm"]
        spare = skep.state / "results"
        assert schemas.check(skep.json("status", swarm), "status")["swarm"]["out_dir"] == str(spare)
        told = [e["body"] for e in skep.events(swarm) if e["type"] == "notice" and e["body"]["code"] == "results_elsewhere"]
        assert told and f"{spare}/{swarm}" in told[0]["text"], told
        assert out.read_text() == "mine\n"
        changed = skep.json("diff", f"{swarm}/p0")["panes"][0]["changes"]
        assert {"rest.txt", "done.txt", "staged.txt", "README"} == {c["path"] for c in changed}, changed
        skep.json("apply", f"{swarm}/p0")
        assert (repo / "rest.txt").read_text() == "rest\n"
        assert (spare / swarm / "summary.json").exists()


if __name__ == "__main__":
    main()

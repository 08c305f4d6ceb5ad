#!/usr/bin/python3
"""Results are taken over into the user's repository, and panes that change the same files are told."""
# timeout: 240
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import schemas  # noqa: E402 behind the path they need
from installation import Installation, git, repository  # noqa: E402 behind the path they need
from scenario import main, scenario, wait_until  # noqa: E402 behind the path they need

LINES = "".join(f"line {i}\n" for i in range(40))
# Each pane edits a place of its own in one file and the same place in another, and adds a file.
AGENT = """#!/bin/sh
set -e
i=$SKEP_PANE_INDEX
sed -i "$((3 + 20 * i))s/.*/pane $i/" apart.txt
sed -i "5s/.*/pane $i/" against.txt
echo "$i" >"new $i.txt"
git add -A
git commit -q -m "pane $i: what it did"
"""
# The first two change the same line and end, the third one stays at work.
TWO_END = """#!/bin/sh
set -e
echo ready
[ "$SKEP_PANE_INDEX" != 2 ] || exec tail -f /dev/null
sed -i "5s/.*/pane $SKEP_PANE_INDEX/" against.txt
"""
# Leaves a result at once and then stays.
STAYS = "#!/bin/sh\necho kept >result.txt\necho ready\nexec tail -f /dev/null\n"


def text(repo, *words):
    return git(repo, *words).stdout.decode().strip()


def set_identity(repo):
    git(repo, "config", "user.name", "Ada")
    git(repo, "config", "user.email", "ada@example.org")


@scenario("a run brings its results as branches, and tells which panes changed the same places")
def _(work):
    repo = repository(work / "repo", {"agent": AGENT, "apart.txt": LINES, "against.txt": LINES})
    set_identity(repo)
    head = text(repo, "rev-parse", "HEAD")
    with Installation(work) as skep:
        lines = skep.json_lines("run", "--repo", repo, "--sandboxes", "2", "--apply", "branch", "--", "./agent")
        for line in lines:
            schemas.check(line, "run")
        swarm, done = lines[0]["run"]["swarm"], lines[-1]["apply"]
        assert {b["pane"] for b in done["branches"]} == {"p0", "p1"} and done["conflicts"] == 0, done
        for i in (0, 1):
            branch = f"skep/{swarm}/p{i}"
            assert text(repo, "rev-parse", f"{branch}~1") == head, "the branch stands on the commit of the start"
            assert text(repo, "log", "-1", "--format=%s|%an", branch) == f"pane {i}: what it did|Ada"
            assert text(repo, "show", f"{branch}:new {i}.txt") == str(i)
        assert text(repo, "rev-parse", "HEAD") == head and not text(repo, "status", "--porcelain"), "work tree or HEAD was touched"
        out = repo / "skep-out" / swarm
        summary = schemas.check(json.loads((out / "summary.json").read_text()), "summary")
        levels = {c["path"]: (c["level"], c["panes"]) for c in summary["collisions"]}
        assert levels == {"against.txt": ("conflict", ["p0", "p1"]), "apart.txt": ("paths", ["p0", "p1"])}, levels
        assert sorted(summary["merge_order"]) == ["p0", "p1"] and len(summary["unmergeable"]) == 1, summary
        assert summary["unmergeable"] == summary["merge_order"][1:], summary["merge_order"]
        events = skep.events(swarm)
        told = {e["body"]["path"]: e["body"]["level"] for e in events if e["type"] == "collision"}
        assert told == {"against.txt": "conflict", "apart.txt": "paths"}, told
        assert events[-1]["type"] == "swarm.closed"

        # Both into the work tree: the one file merges, of the other both versions are there.
        first, second = summary["merge_order"]
        shown = schemas.check(skep.json("diff", swarm), "diff")
        assert [p["name"] for p in shown["panes"]] == [first, second], shown
        assert not skep.json("apply", f"{swarm}/{first}", "--mode", "patch")["conflicts"]
        refused = schemas.check(skep.json("apply", f"{swarm}/{second}", "--mode", "patch", code=83), "apply")
        assert {p["path"] for p in refused["paths"] if p["became"] == "conflict"} == {"against.txt"}, refused
        assert not (repo / f"new {second[1:]}.txt").exists(), "something of a patch with a conflict was written"
        kept = skep.json("apply", f"{swarm}/{second}", code=83)
        assert {p["copy"] for p in kept["paths"] if p["became"] == "conflict"} == {
            f"against.txt.skep-{second}", f"apart.txt.skep-{second}"}, kept
        assert f"pane {first[1:]}" in (repo / "against.txt").read_text()
        assert f"pane {second[1:]}" in (repo / f"against.txt.skep-{second}").read_text()
        copy = schemas.check(skep.json("download", swarm, "--to", work / "copy"), "download")
        assert copy["panes"] == [first, second] and (work / "copy" / f"{first}.patch").stat().st_size > 0


@scenario("panes that changed the same place are told while another agent of the run is at work")
def _(work):
    repo = repository(work / "repo", {"agent": TWO_END, "against.txt": LINES})
    with Installation(work) as skep:
        swarm = skep.json("run", "--repo", repo, "--sandboxes", "3", "--detach", "--", "./agent")["run"]["swarm"]

        def told():
            return [e["body"] for e in skep.events(swarm) if e["type"] == "collision"]
        met = wait_until("two panes are told to have changed the same place", told, 60)
        assert [(c["path"], c["level"], c["panes"]) for c in met] == [("against.txt", "conflict", ["p0", "p1"])], met
        wait_until("the third agent is at work", lambda: "ready" in skep.log_text(f"{swarm}/p2"))
        found = skep.status(swarm)
        assert found["swarm"]["state"] == "running", found["swarm"]
        assert {p["name"]: p["state"] for p in found["panes"]} == {"p0": "closed", "p1": "closed", "p2": "running"}, found["panes"]
        skep.json("stop", swarm)
        skep.closed(swarm)
        assert told() == met, "what was told is told once"


@scenario("what agents had done is taken over after a time limit and after a stop, and a kill brings nothing")
def _(work):
    repo = repository(work / "repo", {"agent": STAYS, "mine.txt": "committed\n"})
    set_identity(repo)
    (repo / "mine.txt").write_text("not committed\n")
    with Installation(work) as skep:
        lines = skep.json_lines("run", "--repo", repo, "--limit", "15s", "--apply", "files", "--", "./agent", code=79)
        swarm = lines[0]["run"]["swarm"]
        assert "apply" not in lines[-1] and not (repo / "result.txt").exists(), "results of a run that did not go well were applied"
        done = schemas.check(skep.json("apply", swarm, "--mode", "branch", "--branch", "late"), "apply")
        assert done["branches"][0]["snapshot"], done
        assert text(repo, "show", "late:result.txt") == "kept" and text(repo, "show", "late~1:mine.txt") == "not committed"
        assert skep.json("apply", swarm)["conflicts"] == 0
        assert (repo / "result.txt").read_text() == "kept\n" and (repo / "mine.txt").read_text() == "not committed\n"
        os.remove(repo / "result.txt")
        # A stop collects, too; a kill brings nothing, and says so.
        stopped = skep.json("run", "--repo", repo, "--detach", "--", "./agent")["run"]["swarm"]
        skep.running(stopped, "ready")
        assert skep.json("apply", stopped, code=66)["error"]["code"] == "no_results"
        skep.json("stop", stopped)
        skep.closed(stopped)
        assert skep.json("apply", stopped)["conflicts"] == 0 and (repo / "result.txt").exists()
        killed = skep.json("run", "--repo", repo, "--detach", "--", "./agent")["run"]["swarm"]
        skep.running(killed, "ready")
        skep.json("kill", killed)
        skep.closed(killed, 20)
        assert skep.json("apply", killed, code=66)["error"]["code"] == "no_results"


@scenario("two runs of one repository at once share no work tree, no branch and no results")
def _(work):
    repo = repository(work / "repo", {"agent": "#!/bin/sh\nset -e\ngit rev-parse --abbrev-ref HEAD >branch.txt\npwd >place.txt\n"
                                               "echo \"$1 $SKEP_PANE_INDEX\" >who.txt\n"})
    with Installation(work) as skep:
        swarms = {word: skep.json("run", "--repo", repo, "--panes", "2", "--detach", "--", "./agent", word)["run"]["swarm"]
                  for word in ("one", "two")}
        places = set()
        for word, swarm in swarms.items():
            assert skep.closed(swarm)["swarm"]["result"] == "completed"
            for i in (0, 1):
                files = repo / "skep-out" / swarm / f"p{i}/files"
                assert (files / "who.txt").read_text() == f"{word} {i}\n"
                places.add((swarm, (files / "place.txt").read_text(), (files / "branch.txt").read_text()))
        assert len(places) == 4, places
        assert len({(s, p) for s, p, _ in places}) == 4 and len({(s, b) for s, _, b in places}) == 4, places


main()

#!/usr/bin/python3
"""One agent that writes without end, among others that work: nobody is starved by it (row X-06)."""
# timeout: 300
from installation import Installation, repository
from scenario import PATIENCE, main, scenario, wait_until

LINE = b"the quick brown fox jumps over the lazy dog\n"
CAP = 100 << 20  # log_cap_mib

# The first pane floods; the others answer each line that is sent to them, and leave a file.
AGENT = """#!/bin/sh
[ "$SKEP_PANE_INDEX" = 0 ] && exec yes "the quick brown fox jumps over the lazy dog"
echo ready
while read -r line && [ "$line" != end ]; do echo "heard $line"; done
echo made >"made-$SKEP_PANE_INDEX.txt"
"""


def log_inside(skep, pane):
    """Of a local sandbox: how long the log of this pane is, and how much of the disk it takes, in bytes."""
    files = [part for part in (skep.host_dir() / "sandboxes").glob("*/home/.skep/panes/*/1/log") if pane in part.parts]
    assert len(files) == 1, files
    found = files[0].stat()
    return found.st_size, found.st_blocks * 512


@scenario("one agent that floods its output starves no other, in its own sandbox or beside it")
def _(work):
    repo = repository(work / "repo", {"agent": AGENT})
    with Installation(work) as skep:
        swarm = skep.start(repo, "--sandboxes", "2", "--panes", "2", "--", "./agent")
        flood = skep.running(swarm)["panes"][0]["pane"]

        def flooded():
            """How much of the flood is in the log of its pane, in bytes."""
            return sum(part.stat().st_size for part in (skep.state / "logs" / swarm).glob(f"{flood}.*"))

        wait_until("the flood runs", lambda: flooded() > 1 << 20, 60 * PATIENCE)
        others = [f"{swarm}/p{n}" for n in (1, 2, 3)]
        for number in range(5):
            before = flooded()
            for pane in others:
                skep.run("send", pane, f"line {number}", code=0)
            for pane in others:
                wait_until(f"{pane} answers", lambda pane=pane: f"heard line {number}\n" in skep.log_text(pane), 60 * PATIENCE)
            wait_until("the flood goes on", lambda: flooded() > before, 60 * PATIENCE)
        for pane in others:
            skep.run("send", pane, "end", code=0)

        def states():
            return {p["name"]: (p["state"], p["result"]) for p in skep.status(swarm)["panes"]}
        wait_until("the others are done", lambda: all(states()[f"p{n}"] == ("closed", "completed") for n in (1, 2, 3)),
                   60 * PATIENCE)
        assert states()["p0"][0] == "running", states()
        wait_until("the flood is longer than is kept of it", lambda: log_inside(skep, flood)[0] > 4 * CAP, 60 * PATIENCE)
        assert CAP <= log_inside(skep, flood)[1] <= CAP * 9 // 8, log_inside(skep, flood)
        for pane in others:
            heard = [f"heard line {number}" for number in range(5)]
            assert skep.log_text(pane).split("\n")[:-1] == ["ready", *heard], skep.log_text(pane)
        skep.run("stop", swarm, "--wait", code=0, limit_s=120)
        [log] = (skep.state / "logs" / swarm).glob(f"{flood}.*")
        size = log.stat().st_size
        with log.open("rb") as file:
            file.seek(size - size % len(LINE) - 1000 * len(LINE))
            assert file.read(1000 * len(LINE)) == LINE * 1000, "what is kept of the flood is not what was written"
        assert skep.host_sandboxes() == [], "a sandbox lives on"
        for number in (1, 2, 3):
            patch = (repo / "skep-out" / swarm / f"p{number}.patch").read_text()
            assert f"made-{number}.txt" in patch, patch


if __name__ == "__main__":
    main()

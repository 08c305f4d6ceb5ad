#!/usr/bin/python3
"""A subscriber without code of ours sees every event once and in order, also when it is cut off while events flow."""
import json
import subprocess

from installation import Installation, repository
from scenario import SOURCE, Skip, main, scenario

MISSES = 100
# Reads lines until it is told to end: each line sent to it makes events.
READER = """#!/bin/sh
while read -r line; do
  echo "got $line"
  [ "$line" = end ] && exit 0
done
exit 1
"""


def subscriber(skep, *options):
    """A running tests/peer/subscriber.py."""
    return skep.popen(SOURCE / "tests" / "peer" / "subscriber.py", "--state", skep.state, *options)


def lines_of(text):
    """(events, what the subscriber said at its end)"""
    lines = [json.loads(line) for line in text.splitlines()]
    return lines[:-1], lines[-1]


@scenario("a subscriber that was cut off and one that starts from the beginning have the same events, each once")
def _(work):
    if subprocess.run(["/usr/bin/python3", "-c", "import zmq, msgpack"], capture_output=True).returncode != 0:
        raise Skip("python3-zmq and python3-msgpack are not installed")
    repo = repository(work / "repo", {"reader": READER})
    with Installation(work) as skep:
        skep.run("daemon", "start", code=0)
        cut = subscriber(skep, "--from", "1", "--cut-after", "30", "--cut-misses", str(MISSES), "--until-closed")
        steady = subscriber(skep, "--from", "1", "--until-closed")
        swarm = skep.start(repo, "--sandboxes", "2", "--panes", "2", "--", "./reader")
        skep.running(swarm)
        # Every send is two events at least; 300 in all, so that the cut one is away and back while they flow.
        sent = 0
        while len(skep.events()) < 320:
            for _ in range(20):
                skep.run("send", f"{swarm}/p{sent % 4}", f"line {sent}", code=0)
                sent += 1
        for pane in range(4):
            skep.run("send", f"{swarm}/p{pane}", "end", code=0)
        done = skep.closed(swarm)
        assert done["swarm"]["result"] == "completed", done["swarm"]

        seen, said = lines_of(cut.communicate(timeout=60)[0])
        assert cut.returncode == 0 and said["end"] == "closed", said
        assert said["cut"] >= MISSES, f"it missed {said['cut']} events only"
        whole, said_whole = lines_of(steady.communicate(timeout=60)[0])
        assert steady.returncode == 0 and said_whole["cut"] == 0, said_whole
        sequences = [e["seq"] for e in seen]
        assert sequences == list(range(1, len(seen) + 1)), "an event is missing, twice or out of order"
        assert len(seen) > 300, len(seen)
        assert seen == whole, "the two live subscribers differ"

        later = subscriber(skep, "--from", "0", "--until-head")
        replayed, said_later = lines_of(later.communicate(timeout=60)[0])
        assert later.returncode == 0 and said_later["stream"] == said["stream"], said_later
        # Behind the swarm's end come the confirmations of kills; up to it the lists are the same.
        assert replayed[:len(seen)] == seen, "the replayed list differs from the live one"
        ours = [(e["seq"], e["swarm"], e["sandbox"], e["at_ms"]) for e in skep.events()]
        assert [(e["seq"], e["swarm"], e["sandbox"], e["at_ms"]) for e in replayed] == ours[:len(replayed)]


@scenario("a subscriber of one sandbox sees exactly the events of that sandbox")
def _(work):
    repo = repository(work / "repo", {"agent": "#!/bin/sh\necho done\n"})
    with Installation(work) as skep:
        swarm = skep.start(repo, "--sandboxes", "2", "--panes", "2", "--", "./agent")
        box = skep.closed(swarm)["sandboxes"][0]["sandbox"]
        told = subscriber(skep, "--from", "1", "--swarm", swarm, "--sandbox", box, "--until-head")
        seen, _said = lines_of(told.communicate(timeout=60)[0])
        wanted = [e["seq"] for e in skep.events() if e["sandbox"] == box]
        assert told.returncode == 0 and [e["seq"] for e in seen] == wanted[:len(seen)] and len(seen) >= 10
        assert {e["sandbox"] for e in seen} == {box}


main()

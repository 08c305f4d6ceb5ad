#!/usr/bin/python3
"""What an older release left behind or still says is understood: its database, its events, its requests."""
import json
import sqlite3
import subprocess

from installation import Installation, repository
from scenario import SOURCE, Skip, main, scenario

RECORDINGS = sorted((SOURCE / "tests" / "data").glob("release-*"))


def holds(found, recorded, where):
    """Everything recorded is there with the same value; later releases may say more."""
    if isinstance(recorded, dict):
        assert isinstance(found, dict) and recorded.keys() <= found.keys(), f"{where} lost {recorded.keys() - found.keys()}"
        for key, value in recorded.items():
            holds(found[key], value, f"{where}.{key}")
    elif isinstance(recorded, list):
        assert len(found) == len(recorded), f"{where} has {len(found)} entries, not {len(recorded)}"
        for index, value in enumerate(recorded):
            holds(found[index], value, f"{where}[{index}]")
    else:
        assert found == recorded, f"{where} is {found!r}, was {recorded!r}"


def load(name, folder):
    text = (folder / name).read_text()
    return [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)


def restore(skep, folder):
    """An installation of this machine whose database is the recorded one."""
    skep.json("daemon", "start")
    skep.json("daemon", "stop")
    for name in ("skep.db", "skep.db-wal", "skep.db-shm"):
        (skep.state / name).unlink(missing_ok=True)
    database = sqlite3.connect(skep.state / "skep.db")
    database.executescript((folder / "skep.sql").read_text())
    database.close()


@scenario("rows and events of every recorded release load, mean the same, and a new run follows them")
def _(work):
    assert RECORDINGS, "nothing is recorded"
    repo = repository(work / "repo")
    for folder in RECORDINGS:
        with Installation(work, folder.name) as skep:
            restore(skep, folder)
            holds(skep.json("ps", "--all"), load("ps.json", folder), f"{folder.name} ps")
            status = load("status.json", folder)
            swarm = status["swarm"]["swarm"]
            found = skep.json("status", swarm)
            head = status.pop("head_seq")
            holds(found, status, f"{folder.name} status")
            assert found["head_seq"] >= head, found["head_seq"]
            recorded = load("events.jsonl", folder)
            events = skep.events()
            holds(events[:len(recorded)], recorded, f"{folder.name} events")
            assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
            # The next daemon, the next epoch, a run like any other.
            epochs = [e["body"]["epoch"] for e in events if e["type"] == "daemon.started"]
            assert epochs == sorted(set(epochs)) and len(epochs) > 1, epochs
            lines = skep.json_lines("run", "--repo", repo, "--", "true")
            assert lines[-1]["summary"]["exit_code"] == 0, lines[-1]
            assert {s["swarm"] for s in skep.json("ps", "--all")["swarms"]} == {swarm, lines[0]["run"]["swarm"]}
            holds(skep.json("status", swarm)["panes"], status["panes"], f"{folder.name} panes after a run")


@scenario("the recorded events fold to the rows of the recorded database and of the upgraded one")
def _(work):
    for folder in RECORDINGS:
        with Installation(work, folder.name) as skep:
            restore(skep, folder)
            old = (folder / "events.jsonl").read_text()
            skep.run("daemon", "start", code=0)
            skep.run("daemon", "stop", code=0)
            skep.run("daemon", "start", code=0)
            new = skep.run("events", "--from", "1", "--json", code=0).stdout
            assert len(new.splitlines()) > len(old.splitlines())
            done = subprocess.run(["/usr/bin/python3", SOURCE / "tests/peer/fold.py", "--database", skep.state / "skep.db"],
                                  input=new, text=True, capture_output=True)
            assert done.returncode == 0 and done.stdout.strip() == "same", done.stdout[-2000:] + done.stderr[-2000:]


@scenario("a peer that knows only the fields of the first release is served, and what it does not know is skipped")
def _(work):
    try:
        import msgpack
        import zmq
    except ImportError as missing:
        raise Skip(f"{missing.name} for Python is not installed (tools/setup --for test)") from None
    repo = repository(work / "repo")
    with Installation(work) as skep:
        skep.json("daemon", "start")
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, 10_000)
        socket.connect(f"ipc://{skep.state}/run/control.sock")

        def ask(data):
            socket.send(data)
            return msgpack.unpackb(socket.recv(), strict_map_key=False)

        try:
            # The bytes that docs/protocol.md shows.
            reply = ask(bytes.fromhex("85 01 01 02 09 03 a0 04 07 05 c4 03 81 01 00"))
            assert reply[2] == 9 and not (reply.get(3) or {}).get(1), reply
            # The fewest fields a run has; then the same with fields of a release that is yet to come.
            spec = {2: str(repo), 3: str(repo / "skep-out"), 7: ["true"]}
            body = msgpack.packb({1: spec})
            first = ask(msgpack.packb({1: 1, 2: 10, 3: "key-1", 4: 1, 5: body}))
            assert first[2] == 10 and not (first.get(3) or {}).get(1), first
            later = {1: {**spec, 999: {"a": [1, 2, b"x"]}, 1000: None}, 77: "unknown"}
            second = ask(msgpack.packb({1: 1, 2: 11, 3: "key-2", 4: 1, 5: msgpack.packb(later), 88: [[], {}]}))
            assert second[2] == 11 and not (second.get(3) or {}).get(1), second
        finally:
            socket.close()
            context.term()
        for reply in (first, second):
            swarm = msgpack.unpackb(reply[4], strict_map_key=False)[1]
            row = skep.closed(swarm)["swarm"]
            # What was not said has its default.
            assert (row["result"], row["sandboxes"], row["panes"], row["provider"], row["keep"], row["name"]) == \
                ("completed", 1, 1, "local", False, ""), row


main()

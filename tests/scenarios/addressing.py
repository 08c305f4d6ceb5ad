#!/usr/bin/python3
"""Who is meant is found by its id alone: panes beside each other, and two daemons on one host, never mix."""
# timeout: 600
# presets: dev
import random

from installation import Installation, repository
from scenario import main, scenario, wait_until

# Says who it is, repeats what it is told, ends when told so.
ECHO = """#!/bin/sh
echo "ready $SKEP_PANE_INDEX"
while IFS= read -r line; do
  [ "$line" = end ] && exit 0
  printf 'heard %s\\n' "$line"
done
"""


@scenario("of 8 panes each receives exactly its own text, also when others close between them")
def _(work):
    repo = repository(work / "repo", {"agent": ECHO})
    with Installation(work) as skep:
        swarm = skep.start(repo, "--name", "eight", "--sandboxes", "1", "--panes", "8", "--", "./agent")
        panes = skep.running(swarm, "ready")["panes"]
        assert len({p["pane"] for p in panes}) == 8 and [p["name"] for p in panes] == [f"p{i}" for i in range(8)], panes
        chance, sent = random.Random(7), {p["pane"]: [] for p in panes}

        def tell(those, rounds):
            orders = [(p, how) for p in those for how in range(rounds)]
            chance.shuffle(orders)
            for pane, how in orders:
                text = f"only for {pane['pane']} number {len(sent[pane['pane']])}"
                # By id, by the swarm's id and by its name: all three mean the same pane.
                target = (pane["pane"], f"{swarm}/{pane['name']}", f"eight/{pane['name']}")[how % 3]
                skep.run("send", target, text, code=0)
                sent[pane["pane"]].append(text)

        tell(panes, 3)
        # Words that a parser of options might take for its own.
        for words in (("''", '"x"', "a=b"), ("{index}", "%s", "\\n", "$HOME", "*", "`id`", "; exit"),
                      ("[x]",), ("[a,b]", "[]")):
            skep.run("send", panes[5]["pane"], *words, code=0)
            sent[panes[5]["pane"]].append(" ".join(words))
        ended = [panes[0], panes[3], panes[4]]
        for pane in ended:
            skep.run("send", pane["pane"], "end", code=0)
        wait_until("three panes are closed", lambda: all(
            p["state"] == "closed" for p in skep.status(swarm)["panes"] if p["pane"] in {e["pane"] for e in ended}))
        left = [p for p in panes if p not in ended]
        tell(left, 3)
        for pane in ended:
            refused = skep.json("send", pane["pane"], "too late", code=65)["error"]
            assert refused["code"] == "wrong_phase", refused
        for pane in left:
            skep.run("send", pane["pane"], "end", code=0)
        done = skep.closed(swarm)
        assert done["swarm"]["result"] == "completed", done["swarm"]
        for pane in panes:
            log = skep.log_of(pane).read_text().splitlines()
            assert log == [f"ready {pane['index']}"] + [f"heard {text}" for text in sent[pane["pane"]]], (pane["name"], log)


@scenario("two daemons share one host and never touch each other's sandboxes and panes")
def _(work):
    repo = repository(work / "repo", {"agent": ECHO})
    with Installation(work, "first") as first:
        first.json("daemon", "start")
        ours = first.start(repo, "--out", work / "out-1", "--panes", "2", "--", "./agent")
        first.running(ours, "ready")
        # The second knows the first one's host as it would know any provider: an address and a key.
        url = first.host_file()["url"]
        config = f'[providers.shared]\napi_url = "{url}"\nsandbox_url = "{url}"\nkey = "SHARED_KEY"\n'
        with Installation(work, "second", config=config) as second:
            second.json("secret", "set", "SHARED_KEY", input=(first.state / "host" / "key").read_text().strip())
            theirs = second.start(repo, "--out", work / "out-2", "--provider", "shared", "--panes", "2", "--", "./agent")
            second.running(theirs, "ready")
            boxes = {s["sandboxID"]: s["metadata"]["skep.install"] for s in first.host_sandboxes()}
            assert len(boxes) == 2 and set(boxes.values()) == {first.install_id(), second.install_id()}, boxes
            rows = [skep.json("ps") for skep in (first, second)]
            for kind, key in (("swarms", "swarm"), ("sandboxes", "sandbox"), ("panes", "pane")):
                mine, other = ({row[key] for row in r[kind]} for r in rows)
                assert mine and other and not mine & other, (kind, mine, other)
            for skep, swarm, word in ((first, ours, "ours"), (second, theirs, "theirs")):
                for name in ("p0", "p1"):
                    skep.run("send", f"{swarm}/{name}", f"{word} {name}", code=0)
            for skep, swarm, word in ((first, ours, "ours"), (second, theirs, "theirs")):
                for index in (0, 1):
                    wanted = f"ready {index}\nheard {word} p{index}\n"
                    wait_until(f"p{index} of {swarm} heard its own words",
                               lambda s=skep, t=f"{swarm}/p{index}", w=wanted: s.log_text(t) == w, 20)
            unknown = second.json("send", f"{ours}/p0", "not mine", code=66)["error"]
            assert unknown["code"] in ("no_such_swarm", "no_such_pane"), unknown
            # Everything of the second one ends; the first one's goes on as if nothing had been.
            second.json("kill", "--all")
            second.closed(theirs)
            wait_until("one sandbox is left", lambda: len(first.host_sandboxes()) == 1)
            assert set(s["metadata"]["skep.install"] for s in first.host_sandboxes()) == {first.install_id()}
            assert all(p["state"] == "running" for p in first.status(ours)["panes"])
            first.run("send", f"{ours}/p1", "still here", code=0)
            wait_until("the first one's pane still hears", lambda: "heard still here" in first.log_text(f"{ours}/p1"))
        for name in ("p0", "p1"):
            first.run("send", f"{ours}/{name}", "end", code=0)
        assert first.closed(ours)["swarm"]["result"] == "completed"


@scenario("100 panes work in one sandbox, each with its own number, tree and log")
def _(work):
    repo = repository(work / "repo", {"agent": "#!/bin/sh\necho \"$SKEP_PANE_NAME\" | tee \"mine-$SKEP_PANE_INDEX\"\n"})
    with Installation(work) as skep:
        lines = skep.json_lines("run", "--repo", repo, "--panes", "100", "--", "./agent", limit_s=400)
        out, summary = repo / "skep-out" / lines[0]["run"]["swarm"], lines[-1]["summary"]
        assert summary["swarm"]["result"] == "completed" and len(summary["panes"]) == 100, summary["swarm"]
        for i in range(100):
            made = {p.name: p.read_text() for p in (out / f"p{i}/files").iterdir()}
            assert made == {f"mine-{i}": f"p{i}\n"} and (out / f"p{i}.log").read_text() == f"p{i}\n", (i, made)


main()

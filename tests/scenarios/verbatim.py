#!/usr/bin/python3
"""What a user gives arrives as it is: prompts, arguments, values and paths of any characters, and no shell reads any of it."""
# timeout: 240
import json
import os
import random
from pathlib import Path

from installation import Installation, repository
from scenario import main, scenario

SEED = 20240607
SPECIAL = ["'", '"', "\\", "\\\\", "`", "$", "$(", ")", "${x}", ";", "&&", "||", "|", "<", ">", "*", "?", "[a-z]", "{a,b}", "~",
           "!", "#", "%s", "%n", "\n", "\t", " ", "  ", "-", "--", "=", "\\n", "\\0", "\\x41", "ä", "日本", "🐝", "\u202e", "\ufeff"]
WORDS = ["x", "rm -rf", "index", "prompt", "EOF", "null", "{index", "count}", "{index}", "{count}", "{{index}}", "{{count}", "0"]


def poison(marker):
    """Commands in every notation of a shell that would make a file named `marker`."""
    return [f"$(touch {marker})", f"`touch {marker}`", f"; touch {marker} ;", f"| touch {marker}", f"& touch {marker} &",
            f"> {marker}", f"\ntouch {marker}\n", f"'; touch {marker}; '", f'"; touch {marker}; "', f"<(touch {marker})"]


def text(chance, marker, pieces):
    return "".join(chance.choice(SPECIAL + WORDS + poison(marker)) for _ in range(pieces))


def odd_text(chance, size):
    """Characters of all lengths in UTF-8, and every control character but NUL."""
    ranges = ((1, 0x7f), (1, 0x20), (0x80, 0x7ff), (0x800, 0xd7ff), (0xe000, 0xffff), (0x10000, 0x10ffff))
    return "".join(chr(chance.randint(*chance.choice(ranges))) for _ in range(size)).encode()


# What stands in for the CLI of a model's maker: keeps its standard input as it is, and what else it was given.
ECHO = """#!/usr/bin/python3
import json, os, sys
index = os.environ["SKEP_PANE_INDEX"]
with open("prompt-" + index, "wb") as out:
    out.write(sys.stdin.buffer.read())
with open("given-" + index, "w") as out:
    json.dump({"argv": sys.argv, "env": sorted(os.environ), "home": os.listdir(os.environ["HOME"]), "tmp": os.listdir("/tmp")}, out)
print(json.dumps({"type": "result", "subtype": "success", "is_error": False, "result": "ok", "num_turns": 1,
                  "total_cost_usd": 0, "usage": {"input_tokens": 1, "output_tokens": 1}}))
"""


def prompts(marker):
    """24 prompts of a run: the hand-picked ones, then random ones, always the same."""
    chance = random.Random(SEED)
    # Characters of all lengths in UTF-8; no control characters but tab, newline and carriage return.
    allowed = "".join(map(chr, (*b"\t\n\r", *range(0x20, 0x7f), *range(0xa0, 0x900), 0xfffd, 0xffff, 0x10000, 0x10ffff))).encode()
    picked = [
        b"x" * 100_000, ("\\" * 99_999 + "n").encode(), "".join(SPECIAL).encode(), "".join(poison(marker)).encode(),
        b"\n\n  leading and trailing \n\n", b"-p --model evil -- @/etc/passwd", b"\r\nlines\rof\r\nothers\r", allowed,
        b"Fix f'row {index}' of {count}, and {{index}} and {{{count}}} in \\{{index} {{count}", b"{index}" * 14_285,
        ("日本語 ümläut \U0001f41d\n" * 3000).encode()[:99_990] + b"!", b'{"type":"result","is_error":true}\n',
    ]
    while len(picked) < 24:
        picked.append(text(chance, marker, chance.randrange(1, 400)).encode()[:100_000])
    return picked


@scenario("prompts of any characters arrive as they are, one file for each of 24 panes")
def _(work):
    tools, marker = work / "tools", work / "marks" / "made"
    for folder in (tools, marker.parent):
        folder.mkdir()
    (tools / "claude").write_text(ECHO)
    (tools / "claude").chmod(0o755)
    work.chmod(0o711)
    marker.parent.chmod(0o777)
    given = prompts(marker)
    files = []
    for number, data in enumerate(given):
        (work / f"prompt {number};$(x)").write_bytes(data)
        files += ["--prompt-file", str(work / f"prompt {number};$(x)")]
    repo = repository(work / "repo")
    with Installation(work, config=f'[local]\nbind = ["{tools}"]\n') as skep:
        skep.environment["PATH"] = f"{tools}:{skep.environment['PATH']}"
        skep.json("secret", "set", "ANTHROPIC_API_KEY", input="sk-not-a-key")
        lines = skep.json_lines("run", "--repo", repo, "--sandboxes", "3", "--panes", "8", "--agent", "claude", *files,
                                limit_s=120)
        out = repo / "skep-out" / lines[0]["run"]["swarm"]
        for number, data in enumerate(given):
            arrived = (out / f"p{number}/files/prompt-{number}").read_bytes()
            assert arrived == data, f"prompt {number}: {len(arrived)} bytes of {len(data)}, {arrived[:80]} for {data[:80]}"
            seen = json.loads((out / f"p{number}/files/given-{number}").read_text())
            assert not any("touch" in word or "evil" in word for word in seen["argv"]), seen["argv"]
            assert marker.name not in seen["home"] + seen["tmp"], seen
            names = {p.name for p in (out / f"p{number}/files").iterdir()}
            assert names == {f"prompt-{number}", f"given-{number}"}, names
    assert not os.listdir(marker.parent), "a shell of this machine read a prompt"


@scenario("a prompt on the command line and a template are filled in for each pane, and a file alone is not")
def _(work):
    repo = repository(work / "repo", {"keep": "#!/bin/sh\ncat >prompt\n"})
    written, filled = "{{index}}: row {index} of {count} {other}", "{index}: row %d of 2 {other}"
    (work / "file").write_text(written)
    file = ["--prompt-file", str(work / "file")]
    cases = [(["--prompt", written], [filled % 0, filled % 1]), (file + ["--prompt-template"], [filled % 0, filled % 1]),
             (file, [written, written])]
    with Installation(work) as skep:
        for options, wanted in cases:
            lines = skep.json_lines("run", "--repo", repo, "--panes", "2", *options, "--", "./keep", limit_s=120)
            out = repo / "skep-out" / lines[0]["run"]["swarm"]
            arrived = [(out / f"p{i}/files/prompt").read_text() for i in range(2)]
            assert arrived == wanted, (options, arrived)


# Writes what it was given, each string in hex, and what lies around it.
TELL = """#!/usr/bin/python3
import json, os, sys
with open("given", "w") as out:
    json.dump({"argv": [os.fsencode(word).hex() for word in sys.argv[1:]],
               "env": {os.fsencode(k).hex(): os.fsencode(v).hex() for k, v in os.environ.items()},
               "home": os.listdir(os.environ["HOME"]), "tmp": os.listdir("/tmp"), "here": os.listdir(".")}, out)
"""


@scenario("10,000 arguments of any characters and odd environments arrive as they are, and no file is made by them")
def _(work):
    chance = random.Random(SEED)
    marker = work / "marks" / "made"
    marker.parent.mkdir()
    work.chmod(0o711)
    marker.parent.chmod(0o777)
    words = [b"", b" ", b"-", b"--", b"--help", b"-rf", b"@file", b"[a,b]", b"[]", bytes(range(1, 128)), b"\xf4\x8f\xbf\xbf", b"\xef\xbf\xbe"]
    words += [word.encode() for word in poison(marker)]
    while len(words) < 10_000:
        words.append(text(chance, "made", chance.randrange(0, 5)).encode()[:60] if len(words) % 2
                     else odd_text(chance, chance.randrange(0, 8)))
    values = {f"ODD_{i}": odd_text(chance, 100) for i in range(20)}
    values |= {"EMPTY": b"", "[LIST": b"a,b]", "EQUALS": b"a=b=c", "LINES": b"one\ntwo\n", "POISON": "".join(poison(marker)).encode(), "with space": b"x",
               "dash-ed": b"y", "$(touch made)": b"z", "ünïcode": "wört".encode()}
    options = [part for name, value in values.items() for part in (b"--env", name.encode() + b"=" + value)]
    # A folder whose every part is poison.
    place = work / "re po;'$(touch made)\"`touch made`\\ &"
    repo = repository(place / "ümläut | repo", {"tell": TELL})
    with Installation(work) as skep:
        name = "odd $(touch made) \\ 'name' \"x\" ; ünï"
        lines = skep.json_lines("run", "--repo", repo, "--name", name, *options, "--", "./tell", *words, limit_s=120,
                                cwd=marker.parent)
        summary = lines[-1]["summary"]
        assert summary["exit_code"] == 0, summary["swarm"]
        seen = json.loads((repo / "skep-out" / lines[0]["run"]["swarm"] / "p0/files/given").read_text())
        arrived = [bytes.fromhex(word) for word in seen["argv"]]
        wrong = [(i, a, b) for i, (a, b) in enumerate(zip(arrived, words, strict=True)) if a != b]
        assert not wrong, f"{len(wrong)} arguments changed, as {wrong[0]}"
        environment = {bytes.fromhex(k): bytes.fromhex(v) for k, v in seen["env"].items()}
        for key, value in values.items():
            assert environment.get(key.encode()) == value, f"{key}: {environment.get(key.encode())} for {value}"
        assert set(seen["here"]) == {".git", "tell", "given"}, seen["here"]
        assert "made" not in seen["home"] + seen["tmp"], seen
        assert summary["swarm"]["name"] == name, summary["swarm"]
        assert [s["name"] for s in skep.json("ps", "--all")["swarms"]] == [name]
        assert sorted(os.listdir(place)) == [repo.name] and sorted(os.listdir(repo)) == [".git", "skep-out", "tell"]
        assert not [p for p in Path(skep.host_dir()).rglob("made")]
    assert not os.listdir(marker.parent), "a shell of this machine read an argument"


# Each in the name of a folder of its own.
PIECES = {"space": "a b", "semicolon": "a;touch made", "ampersand": "a&touch made", "pipe": "a|touch made",
          "backtick": "`touch made`", "dollar": "$HOME", "parentheses": "$(touch made)", "quote": "a'b", "double quote": 'a"b',
          "newline": "a\nb", "dots": "gone/../a..b", "slashes": "a//b", "bytes": "ä日🐝\\x", "dash": "-rf"}


@scenario("folders for results of any characters are taken as they are, and no shell reads one")
def _(work):
    repo = repository(work / "repo", {"agent": "#!/bin/sh\necho made >result.txt\n"})
    top = work / "results"
    top.mkdir()
    with Installation(work) as skep:
        swarms = {what: skep.start(repo, "--name", what, "--out", f"{top}/{piece}", "--", "./agent")
                  for what, piece in PIECES.items()}
        for what, swarm in swarms.items():
            done = skep.closed(swarm, 120, every_s=0.2)
            assert done["swarm"]["result"] == "completed", (what, done["swarm"])
            folder = Path(os.path.normpath(f"{top}/{PIECES[what]}")) / swarm
            assert "result.txt" in (folder / "p0.patch").read_text(), what
            assert (folder / "p0/files/result.txt").read_text() == "made\n", what
            copy = top / "copies" / PIECES[what].replace("/", "_")
            copy.parent.mkdir(exist_ok=True)
            skep.run("download", str(folder), "--to", str(copy), code=0, cwd=top)
            assert (copy / "p0.patch").read_bytes() == (folder / "p0.patch").read_bytes(), what
        assert not [p for p in work.rglob("made") if p.name == "made"], "a shell read a path"
        made = {os.path.normpath(f"{top}/{piece}").removeprefix(f"{top}/").split("/")[0] for piece in PIECES.values()}
        assert set(os.listdir(top)) == made | {"copies"}, os.listdir(top)


main()

#!/usr/bin/python3
"""The examples that our documents show, as they stand there:  tools/lib/examples.py NAME [OUT_FILE]

An example is a fenced block behind a line `<!-- example: NAME -->`. The build compiles those in C++ (tests/examples/),
tests/scenarios/examples.py runs all of them: what a reader copies works, or a test fails.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^<!-- example: ([\w-]+) -->\n+```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples():
    """{name: text} of every example in README.md, HACKING.md, docs/ and the rooms' README.md."""
    found = {}
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]:
        for name, text in BLOCK.findall(path.read_text()):
            assert name not in found, f"two examples are named {name}"
            found[name] = text
    return found


if __name__ == "__main__":
    example = examples()[sys.argv[1]]
    if len(sys.argv) > 2:
        Path(sys.argv[2]).parent.mkdir(parents=True, exist_ok=True)
        Path(sys.argv[2]).write_text(example)
    else:
        print(example, end="")

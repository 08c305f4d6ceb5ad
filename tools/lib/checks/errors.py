"""messages/errors.def is sound, and docs/errors.md says the same."""
import subprocess

from .tree import Problem

NAME = "docs/errors.md is made from messages/errors.def"


def run(tree):
    made = subprocess.run(["/usr/bin/python3", "tools/lib/gen_errors.py", "--check"], cwd=tree.root,
                          capture_output=True, text=True)
    if made.returncode == 0:
        return []
    return [Problem("docs/errors.md", 0, line) for line in made.stderr.splitlines() if line.strip()]

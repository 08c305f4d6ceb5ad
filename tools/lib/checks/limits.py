"""docs/limits.md says what the policy structs of the headers say."""
import subprocess

from .tree import Problem

NAME = "docs/limits.md is made from the policy structs"


def run(tree):
    made = subprocess.run(["/usr/bin/python3", "tools/lib/gen_limits.py", "--check"], cwd=tree.root,
                          capture_output=True, text=True)
    if made.returncode == 0:
        return []
    return [Problem("docs/limits.md", 0, line) for line in made.stderr.splitlines() if line.strip()]

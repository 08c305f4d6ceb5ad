"""Files: not too long, with an end of line, without paths of one machine or names of registries."""
import os
import re

from .tree import Problem

NAME = "files are short, clean and bound to no machine"

WARN_LINES = 400
MAX_LINES = 600
CORPORA = "tests/fuzz/corpus/"  # Inputs byte for byte.
SOURCES = (".cpp", ".hpp", ".h", ".py", ".sh", ".sql", ".mjs")
REGISTRIES = "actors/package_hosts.hpp"  # The one place that may name package registries.
# The second part of each pattern is bracketed so that it does not find itself.
HOSTS = re.compile(r"registry\.npm[j]s|pypi\.or[g]|files\.pythonhoste[d]|deb\.debia[n]\.org|static\.crate[s]\.io|proxy\.golan[g]", re.IGNORECASE)
HOME = re.compile(r"(?<![\w.])/(?:home|Users)/(?!u\b|agent\b|user\b|sandbox\w*\b|skep\b|you\b|me\b|alice\b|bob\b)[a-z][\w-]*/")
# Folders of many machines: they tell nothing of this one. A sandbox's home is the last.
NO_SIGN = ("/root", "/tmp", "/home", "/usr/src", "/build", "/skep", "/home/user")
CONFLICT = re.compile(r"^(?:<{7} |>{7} |={7}$)")


def machine_paths(tree):
    """Folders that only this checkout's machine has: where the checkout lies, and the user's home."""
    paths = {str(tree.root), str(tree.root.parent), os.path.expanduser("~")}
    return {p for p in paths if len(p) > 5 and p not in NO_SIGN}


def run(tree):
    problems = []
    machine = machine_paths(tree)
    for path in tree.files:
        text = tree.text(path)
        if "\0" in text or path.startswith(("LICENSE", CORPORA)):
            continue
        if text and not text.endswith("\n"):
            problems.append(Problem(path, 0, "no end of line at the end"))
        count = text.count("\n")
        if path.endswith(SOURCES) or path in tree.scripts():
            if count > MAX_LINES:
                problems.append(Problem(path, 0, f"{count} lines: more than {MAX_LINES}, one responsibility a file"))
            elif count > WARN_LINES:
                problems.append(Problem(path, 0, f"{count} lines: more than {WARN_LINES}", warning=True))
        for number, line in tree.lines(path):
            if HOSTS.search(line) and path != REGISTRIES:
                problems.append(Problem(path, number, "names the host of a package registry"))
            if HOME.search(line) or any(p + "/" in line for p in machine):
                problems.append(Problem(path, number, "a path of one machine"))
            if CONFLICT.match(line) and not path.endswith(".md"):
                problems.append(Problem(path, number, "the mark of a merge conflict"))
            if line != line.rstrip() and path.endswith(SOURCES):
                problems.append(Problem(path, number, "blanks at the end of the line"))
    return problems

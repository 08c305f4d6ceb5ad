"""Nothing waits by time: control paths and tests wait for evidence, with a deadline."""
import re

from .tree import Problem, without_comments

NAME = "no sleeps in control paths and tests"

CXX_SLEEP = re.compile(r"\b(?:sleep_for|sleep_until|usleep|nanosleep|clock_nanosleep|::sleep)\s*\(|(?<![\w.>:])sleep\s*\(")
PY_SLEEP = re.compile(r"\btime\.sleep\s*\(|(?<!\w)sleep\s*\(")
SH_SLEEP = re.compile(r"(?:^|[;&|({]|\bdo\b|\bthen\b)\s*sleep\s+[\d$.\"']")
# A script that polls, or plays somebody slow on purpose, says why on the line or on the one above it.
REASON = re.compile(r"#\s*sleep: \S+ \S+")


def run(tree):
    problems = []
    for path in tree.cxx():
        text = tree.text(path)
        if "sleep" not in text:
            continue
        for number, line in enumerate(without_comments(text).splitlines(), 1):
            if CXX_SLEEP.search(line):
                problems.append(Problem(path, number, "a sleep: wait for evidence with a deadline instead"))
    for path in tree.scripts():
        if path.startswith("tools/lib/checks/") or not path.startswith(("tests/", "tools/")):
            continue
        pattern = PY_SLEEP if path.endswith(".py") or "python" in tree.text(path)[:40] else SH_SLEEP
        before = ""
        for number, line in tree.lines(path):
            code = line.split("#", 1)[0]
            if pattern.search(code) and not REASON.search(line) and not REASON.search(before):
                problems.append(Problem(path, number, "a sleep without its reason (`# sleep: WHY`)"))
            before = line
    return problems

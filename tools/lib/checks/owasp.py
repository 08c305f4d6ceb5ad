"""docs/security.md, the OWASP table: each of the ten groups names tests that exist and carry its tag."""
import re

from .capabilities import known_tests
from .tree import Problem

NAME = "every group of the OWASP list has tests that exist"

PATH = "docs/security.md"
GROUPS = [f"A{n:02}" for n in range(1, 11)]
ROW = re.compile(r"^\| (A\d\d) [^|]* \| ([^|]*) \| (.*) \|$")
CASE = re.compile(r'TEST_CASE(?:_METHOD)?\s*\((?:\s*\w+\s*,)?\s*((?:"(?:[^"\\]|\\.)*"\s*)+)(?:,\s*"([^"]*)")?\s*\)')


def tags_of_cases(tree):
    """{name of a Catch2 case: its tags}."""
    found = {}
    for path in tree.files:
        if path.startswith("tests/") and path.endswith(".cpp"):
            for match in CASE.finditer(tree.text(path)):
                name = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', match.group(1))).replace('\\"', '"')
                found[name] = match.group(2) or ""
    return found


def run(tree):
    problems, seen = [], set()
    tests, tags = known_tests(tree), tags_of_cases(tree)
    for number, line in tree.lines(PATH):
        match = ROW.match(line)
        if not match:
            continue
        group, _, last = match.groups()
        seen.add(group)
        named = re.findall(r"`([^`]+)`", last)
        if not named:
            problems.append(Problem(PATH, number, f"{group} names no test"))
        for test in named:
            if test not in tests:
                problems.append(Problem(PATH, number, f"{group}: there is no test '{test}'"))
            elif test in tags and f"[owasp-{group.lower()}]" not in tags[test]:
                problems.append(Problem(PATH, number, f"{group}: '{test}' lacks the tag [owasp-{group.lower()}]"))
        for test, tag in tags.items():
            if f"[owasp-{group.lower()}]" in tag and test not in named:
                problems.append(Problem(PATH, number, f"{group}: '{test}' has its tag and is not named"))
    problems += [Problem(PATH, 0, f"the group {group} has no row") for group in GROUPS if group not in seen]
    return problems

"""docs/capabilities.md: 186 rows, and each that is done names tests that exist and were not skipped."""
import json
import re

from .tree import Problem

NAME = "docs/capabilities.md is complete and names real tests"

PATH = "docs/capabilities.md"
STATES = ("done", "partly", "not yet")
EXPECTED_IDS = ([f"S1-{n:02}" for n in range(1, 82)] + [f"S2-{n:02}" for n in range(1, 51)]
                + [f"S3-{n:02}" for n in range(1, 43)] + [f"X-{n:02}" for n in range(1, 14)])
ROW = re.compile(r"^\| ((?:S[123]|X)-\d+) \| (.+?) \| ([^|]*?) \| (.*) \|$")
TEST_CASE = re.compile(r'\b(?:TEST_CASE|TEST_CASE_METHOD|SCENARIO|TEMPLATE_TEST_CASE|TEMPLATE_LIST_TEST_CASE)\s*\(\s*(?:\w+\s*,\s*)?'
                       r'((?:"(?:[^"\\]|\\.)*"\s*)+)')
RESULT_NAME = re.compile(r"""\b(?:scenario|test|result|ok|case|check|expect)\(\s*f?(["'])(.+?)\1""")
SHARED = re.compile(r"tests/(conformance/js|conformance/python|contract)/(\w+)\.(?:mjs|py)$")
TITLES = {"conformance/js": ("e2b for JavaScript, {stem}, {name}", "e2b 2.45 for JavaScript, {stem}, {name}"),
          "conformance/python": ("e2b for Python, {stem}, {name}",),
          "contract": ("real sandboxes, {name}", "simulated sandboxes, {name}", "through TLS, {name}")}


def known_tests(tree):
    """Names of Catch2 cases in tests/, and of the results that scenario scripts can print."""
    names = set()
    for path in tree.files:
        if not path.startswith("tests/"):
            continue
        if path.endswith(".cpp"):
            for match in TEST_CASE.finditer(tree.text(path)):
                parts = re.findall(r'"((?:[^"\\]|\\.)*)"', match.group(1))
                names.add("".join(parts).replace('\\"', '"').replace("\\\\", "\\"))
        elif path.startswith("tests/scenarios/") and path.endswith(".py"):
            text = tree.text(path)
            names.update(m.group(2) for m in RESULT_NAME.finditer(text))
            names.update(re.findall(r"\b(?:ok|not ok|skip) - ([^:\n\"'{}]+)", text))
        else:
            names.update(shared_names(path, tree))
    return names


def shared_names(path, tree):
    """Names of the cases that several scenarios run, each under its title: tests/conformance and tests/contract."""
    found = SHARED.match(path)
    if not found:
        return
    folder, stem = found.groups()
    for match in RESULT_NAME.finditer(tree.text(path)):
        for title in TITLES[folder]:
            yield title.format(stem=stem.removesuffix("_cases"), name=match.group(2))


def last_results(tree):
    """{test name: worst status} of the last run, from build/test-results/*.json."""
    worst = {}
    order = {"passed": 0, "skipped": 1, "failed": 2}
    for path in sorted((tree.root / "build" / "test-results").glob("*.json")):
        try:
            results = json.loads(path.read_text())["results"]
        except (ValueError, KeyError):
            continue
        for result in results:
            old = worst.get(result["name"], "passed")
            worst[result["name"]] = max(old, result["status"], key=order.get)
    return worst


def run(tree, with_results=False):
    problems, seen = [], {}
    tests = known_tests(tree)
    results = last_results(tree)
    for number, line in tree.lines(PATH):
        match = ROW.match(line)
        if not match:
            if re.match(r"^\| *(S\d|X)-", line):
                problems.append(Problem(PATH, number, "this row has not the form | ID | capability | state | tests |"))
            continue
        row, _, state, last = match.groups()
        if row in seen:
            problems.append(Problem(PATH, number, f"{row} stands here twice"))
        seen[row] = number
        if state not in STATES:
            problems.append(Problem(PATH, number, f"{row}: the state is one of {', '.join(STATES)}"))
        named = re.findall(r"`([^`]+)`", last)
        if state != "done":
            if not last.strip():
                problems.append(Problem(PATH, number, f"{row}: says neither tests nor what is missing"))
            continue
        if not named:
            problems.append(Problem(PATH, number, f"{row} is done and names no test"))
        for test in named:
            if test not in tests and test not in results:
                problems.append(Problem(PATH, number, f"{row}: there is no test '{test}'"))
            elif results.get(test) in ("skipped", "failed"):
                problems.append(Problem(PATH, number, f"{row}: '{test}' was {results[test]} in the last run"))
            elif with_results and test not in results:
                problems.append(Problem(PATH, number, f"{row}: '{test}' did not run in the last run"))
    for row in EXPECTED_IDS:
        if row not in seen:
            problems.append(Problem(PATH, 0, f"the row {row} is missing"))
    problems += [Problem(PATH, seen[row], f"{row} is no row of the list") for row in seen if row not in EXPECTED_IDS]
    return problems

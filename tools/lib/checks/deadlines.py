"""No call to a provider or a sandbox without a deadline: sandbox/policy.hpp against every function that sends, and
against what docs/configuration.md says of it."""
import re

from .tree import Problem, without_comments

NAME = "every call to a sandbox has its deadline in sandbox/policy.hpp"

TABLE = "sandbox/policy.hpp"
# The classes whose functions send; each function that gives a call_id is an operation.
HEADERS = ("sandbox/api.hpp", "sandbox/control.hpp", "sandbox/templates.hpp", "sandbox/envd.hpp")
ROW = re.compile(r"SKEP_OPERATION\((\w+), ([\d']+), (\d+), (\w+),")
# Uses of an operation with another limit: each has a caller, else it bounds nothing.
STEP = re.compile(r"SKEP_STEP\((\w+), (\w+), ([\d']+),")
DOCUMENT = "docs/configuration.md"
DOCUMENT_HEAD = "| operations | deadline | tries | guard |"
DOCUMENT_STEPS = "Steps with a limit of their own: "
DECLARED = re.compile(r"^\s+(?:virtual )?call_id (\w+)\(", re.MULTILINE)
OPENED = re.compile(r"(?:->|\.)(?:open|simple\s*<[^(;]*>)\(\s*(operation::)?(\w*)")
# The one place that makes requests, and the files that are the engine itself.
SENDER = "sandbox/client_core.cpp"
ENGINE = ("sandbox/http_engine", "sandbox/http_transfer", "sandbox/http_lane")
SENDS = re.compile(r"(?:\.|->)submit\(|\bhttp_request\s+\w+\{|\bhttp_limits::(?:within|streaming)\(")
LIMITS_ALSO = ("sandbox/connect_stream.cpp",)
RAW = re.compile(r"\bcurl_(?:easy|multi)_\w+\(")
# Nothing that can be sent is made without limits: the constructor that takes them is the only one.
CONSTRUCTOR = re.compile(r"http_request\(std::string \w+, std::string \w+, http_limits \w+\)")


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def number(text):
    return int(text.replace("'", ""))


def documented(tree):
    """({operation: (deadline in s, tries, guard)}, {step: deadline in s}, {name: line}) of the document."""
    operations, steps, lines, inside = {}, {}, {}, False
    for at, line in tree.lines(DOCUMENT):
        if line.startswith(DOCUMENT_STEPS):
            for name, seconds in re.findall(r"`(\w+)` (\d+) s", line):
                steps[name], lines[name] = int(seconds), at
        inside = line.startswith("|") and (inside or line.strip() == DOCUMENT_HEAD)
        cells = [c.strip() for c in line.strip().strip("|").split("|")] if inside else []
        if len(cells) != 4 or not re.fullmatch(r"\d+ s", cells[1]):
            continue
        for name in re.findall(r"`(\w+)`", cells[0]):
            operations[name], lines[name] = (int(cells[1][:-2]), int(cells[2]), cells[3]), at
    return operations, steps, lines


def check_document(tree):
    """What the document says of operations and steps is what the tables hold."""
    text = tree.text(TABLE)
    code = {n: (number(d) // 1000, int(tries), guard) for n, d, tries, guard in ROW.findall(text)}
    code_steps = {n: number(d) // 1000 for n, _, d in STEP.findall(text)}
    operations, steps, lines = documented(tree)
    for said, held, what in ((operations, code, "operation"), (steps, code_steps, "step")):
        for name in sorted(said.keys() | held.keys()):
            if said.get(name) != held.get(name):
                yield Problem(DOCUMENT, lines.get(name, 0),
                              f"{what} {name}: {said.get(name, 'nothing')} here, {held.get(name, 'nothing')} in {TABLE}")


def check_steps(tree):
    """Each row of the table of steps is the limit of a call."""
    text = tree.text(TABLE)
    rows = {m.group(1): line_of(text, m.start()) for m in STEP.finditer(text)}
    used = set()
    for path in tree.cxx():
        if not path.startswith(("tests/", "sandbox/policy.")):
            used.update(re.findall(r"\bstep::(\w+)", without_comments(tree.text(path))))
    for name, line in rows.items():
        if name not in used:
            yield Problem(TABLE, line, f"{name}: no call has the limit of step::{name}")


def table_rows(tree):
    """({name: line}, problems) of the table."""
    rows, problems = {}, []
    text = tree.text(TABLE)
    for match in ROW.finditer(re.sub(r"\\\n", " \n", text)):
        name, deadline, attempts, guard = match.groups()
        line = line_of(text, match.start())
        if name in rows:
            problems.append(Problem(TABLE, line, f"{name} stands in the table twice"))
        rows[name] = line
        if number(deadline) <= 0:
            problems.append(Problem(TABLE, line, f"{name} has no deadline"))
        if int(attempts) > 1 and guard == "once":
            problems.append(Problem(TABLE, line, f"{name} is repeated and nothing guards it"))
    return rows, problems


def run(tree):
    rows, problems = table_rows(tree)
    if not rows:
        return [Problem(TABLE, 0, "there is no table of operations")]
    declared, opened = {}, set()
    for path in HEADERS:
        text = without_comments(tree.text(path))
        for match in DECLARED.finditer(text):
            declared[match.group(1)] = (path, line_of(text, match.start(1)))
    for name, (path, line) in declared.items():
        if name not in rows:
            problems.append(Problem(path, line, f"{name} has no deadline in {TABLE}"))
    for path in tree.cxx():
        if path.startswith("tests/"):
            continue
        text = without_comments(tree.text(path))
        inside = path.startswith("sandbox/")
        if RAW.search(text) and not path.startswith(ENGINE):
            at = RAW.search(text).start()
            problems.append(Problem(path, line_of(text, at), "libcurl outside of the engine, where nothing limits it"))
        if not inside and "sandbox/http_engine.hpp" not in tree.text(path):
            continue
        for match in SENDS.finditer(text):
            limits_only = match.group(0).startswith("http_limits")
            if path == SENDER or path.startswith(ENGINE) or (limits_only and path in LIMITS_ALSO):
                continue
            problems.append(Problem(path, line_of(text, match.start()), f"a request outside of {SENDER}, which gives it its deadline"))
        for match in OPENED.finditer(text) if inside else ():
            if match.group(1):
                opened.add(match.group(2))
            elif "core" in text[max(0, match.start() - 6):match.start()]:
                problems.append(Problem(path, line_of(text, match.start()), "a call that names no operation"))
    if not CONSTRUCTOR.search(tree.text("sandbox/http_engine.hpp")):
        problems.append(Problem("sandbox/http_engine.hpp", 0, "http_request can be made without limits"))
    for name, line in rows.items():
        if name not in declared:
            problems.append(Problem(TABLE, line, f"{name} is no function of {', '.join(HEADERS)}"))
        elif name not in opened:
            problems.append(Problem(TABLE, line, f"{name}: no call is opened as operation::{name}"))
    problems.extend(check_steps(tree))
    problems.extend(check_document(tree))
    return problems

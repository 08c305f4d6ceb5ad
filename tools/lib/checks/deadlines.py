"""No call to a provider or a sandbox without a deadline: sandbox/policy.hpp against every function that sends."""
import re

from .tree import Problem, without_comments

NAME = "every call to a sandbox has its deadline in sandbox/policy.hpp"

TABLE = "sandbox/policy.hpp"
# The classes whose functions send; each function that gives a call_id is an operation.
HEADERS = ("sandbox/api.hpp", "sandbox/control.hpp", "sandbox/templates.hpp", "sandbox/envd.hpp")
ROW = re.compile(r"SKEP_OPERATION\((\w+), ([\d']+), (\d+), (\w+),")
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
        if int(deadline.replace("'", "")) <= 0:
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
    return problems

"""Nothing waits by time: control paths and tests wait for evidence, with a deadline."""
import re

from .tree import Problem, without_comments

NAME = "no sleeps in control paths and tests"

CXX_SLEEP = re.compile(r"\b(?:sleep_for|sleep_until|usleep|nanosleep|clock_nanosleep|::sleep)\s*\(|(?<![\w.>:])sleep\s*\(")
# Waits for no descriptor at all: a sleep by another name.
CXX_PAUSE = re.compile(r"\bp?poll\s*\(\s*(?:nullptr|NULL|0)\s*,|\bp?select\s*\(\s*0\s*,|\bepoll_p?wait\s*\(\s*-1\s*,")
PY_SLEEP = re.compile(r"\btime\.sleep\s*\(|(?<!\w)sleep\s*\(|\bselect\(\s*\[\]\s*,\s*\[\]\s*,\s*\[\]\s*,")
SH_SLEEP = re.compile(r"(?:^|[;&|({]|\bdo\b|\bthen\b)\s*sleep\s+[\d$.\"']")
JS_SLEEP = re.compile(r"(?<![\w.])(?:setTimeout|setInterval|sleep)\s*\(")
# Who polls, keeps a pace or plays somebody slow on purpose says why on the line or on the one above it.
REASON = re.compile(r"(?:#|//)\s*sleep: \S+ \S+")


def without_reason(tree, path, pattern, code):
    """Numbers of the lines of `code` that match and neither have a reason in the file nor stand below one."""
    shown = tree.text(path).splitlines()
    for index, line in enumerate(code.splitlines()):
        if pattern.search(line) and not any(map(REASON.search, shown[max(index - 1, 0):index + 1])):
            yield index + 1


def check_cxx(tree, path):
    text = tree.text(path)
    if not re.search(r"sleep|poll|select", text):
        return
    code = without_comments(text)
    for number, line in enumerate(code.splitlines(), 1):
        if CXX_SLEEP.search(line):
            yield Problem(path, number, "a sleep: wait for evidence with a deadline instead")
    for number in without_reason(tree, path, CXX_PAUSE, code):
        yield Problem(path, number, "a wait for nothing without its reason (`// sleep: WHY`)")


def check_script(tree, path):
    pattern = PY_SLEEP if path.endswith(".py") or "python" in tree.text(path)[:40] else SH_SLEEP
    code = "\n".join(line.split("#", 1)[0] for line in tree.text(path).splitlines())
    for number in without_reason(tree, path, pattern, code):
        yield Problem(path, number, "a sleep without its reason (`# sleep: WHY`)")


def check_javascript(tree, path):
    # Without comments and strings: the shell lines in them run inside of sandboxes.
    code = re.sub(r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\\n]|\\.)*`|//[^\n]*""", "", tree.text(path))
    for number in without_reason(tree, path, JS_SLEEP, code):
        yield Problem(path, number, "a timer without its reason (`// sleep: WHY`)")


def run(tree):
    problems = []
    for path in tree.cxx():
        problems += check_cxx(tree, path)
    for path in tree.scripts():
        if not path.startswith("tools/lib/checks/") and path.startswith(("tests/", "tools/")):
            problems += check_script(tree, path)
    for path in tree.files:
        if path.startswith("tests/") and path.endswith((".mjs", ".js")):
            problems += check_javascript(tree, path)
    return problems

"""The contract suite: cases that every server of E2B's protocol passes, whatever stands behind it.

    @case("a killed sandbox is gone for every call")
    def _(t):                     # t is a wire.Target
        ...

A case tagged `real` needs a kernel behind the sandbox; such a case is left out for a server that only simulates. One
tagged `ours` asks for what E2B does not have, and is left out for E2B's cloud. Nothing else is left out. A case of several values is one case, and one of more than MOST_VALUES counts for nothing."""
import ast
import concurrent.futures
import inspect
import textwrap
import threading
import traceback

MOST_VALUES = 3
MOST_REAL = 25
ASKING = {"api", "create", "exchange", "read", "request", "rpc", "run", "start", "stream", "write"}  # of a Target and of its sandboxes
cases = []


class Case:
    def __init__(self, name, real, ours, area, function):
        self.name, self.real, self.ours, self.area, self.function = name, real, ours, area, function


def asks(node):
    """Does this code ask the server something, itself or by a function that is given the target or a sandbox?"""
    for call in (n for n in ast.walk(node) if isinstance(n, ast.Call)):
        if isinstance(call.func, ast.Attribute) and call.func.attr in ASKING:
            return True
        if any(isinstance(a, ast.Name) and a.id in ("t", "box") for a in call.args):
            return True
    return False


def values_of(function):
    """The most values that a loop of a case asks the server about, by its source: 1 without such a loop."""
    most = 1
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.For):
            loops, body = [node.iter], node.body
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp)):
            loops, body = [g.iter for g in node.generators], [node.elt]
        else:
            continue
        if any(asks(b) for b in body):
            most = max([most, *(len(i.elts) for i in loops if isinstance(i, (ast.Tuple, ast.List, ast.Set)))])
    return most


def counting():
    """The cases that count: they need no kernel, and have no more values than MOST_VALUES."""
    return [c for c in cases if not c.real and values_of(c.function) <= MOST_VALUES]


def case(name, real=False, ours=False):
    assert ":" not in name, name

    def register(function):
        assert name not in [c.name for c in cases], name
        cases.append(Case(name, real, ours, function.__module__.removesuffix("_cases"), function))
        return function
    return register


class Shared:
    """The sandbox that cases share which leave nothing behind but files of their own; made when first asked for."""

    def __init__(self, target):
        self.target, self.lock, self.box, self.count = target, threading.Lock(), None, 0

    def get(self):
        with self.lock:
            if self.box is None:
                self.box = self.target.create(timeout=600)
            return self.box

    def folder(self):
        """A folder that nobody else uses."""
        with self.lock:
            self.count += 1
            return f"/home/user/case{self.count}"

    def close(self):
        if self.box is not None:
            self.box.__exit__()


def run(target, words=(), at_once=4):
    """Runs the cases against the target; yields (case, "" or why it failed)."""
    assert sum(c.real for c in cases) <= MOST_REAL, [c.name for c in cases if c.real]
    target.shared = Shared(target)

    def one(c):
        try:
            c.function(target)
            return c, ""
        except Exception as why:  # noqa: BLE001 any failure of a case is its result
            where = traceback.extract_tb(why.__traceback__)[-1]
            text = str(why).strip() or f"{type(why).__name__} in `{where.line}`"
            return c, " ".join(text.split())[:400]

    wanted = [c for c in cases if (target.real or not c.real) and (target.ours or not c.ours) and (not words or any(w in c.name for w in words))]
    try:
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            yield from pool.map(one, wanted)
    finally:
        target.shared.close()

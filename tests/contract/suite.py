"""The contract suite: cases that every server of E2B's protocol passes, whatever stands behind it.

    @case("a killed sandbox is gone for every call")
    def _(t):                     # t is a wire.Target
        ...

A case tagged `real` needs a kernel behind the sandbox; such a case is left out for a server that only simulates. One
tagged `ours` asks for what E2B does not have, and is left out for E2B's cloud. Nothing else is left out. A case of several values is one case, of at most MOST_VALUES of them."""
import concurrent.futures
import threading
import traceback

MOST_VALUES = 3
MOST_REAL = 25
cases = []


class Case:
    def __init__(self, name, real, ours, area, function):
        self.name, self.real, self.ours, self.area, self.function = name, real, ours, area, function


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

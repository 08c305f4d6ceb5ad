"""What the scripts in tests/scenarios/ share: naming results, waiting for evidence, cleaning up.

    from scenario import scenario, main, run, wait_until

    @scenario("a run without a repository is refused with the right code")
    def _(work):                      # a fresh temporary directory, removed afterwards
        done = run(["skep", "run", "--repo", work / "nothing"])
        assert done.returncode == 64, done.stderr

    main()

Each result is one line, as tools/lib/run_tests.py reads it: `ok - NAME`, `not ok - NAME: why`, `skip - NAME: reason`.
"""
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

SOURCE = Path(os.environ.get("SKEP_SOURCE") or Path(__file__).resolve().parents[2])
BIN = Path(os.environ.get("SKEP_BIN") or SOURCE / "build" / "dev" / "bin")
_scenarios = []


def with_mounts(mounts):
    """What stands in front of a command that is to run as us where `mounts` were made, and nowhere else. `mounts` is a
    fixed shell text, run as root: who is not root is it in a user namespace, and himself again in another one."""
    first = ["unshare", "--mount", "--propagation", "private"]
    then = ""
    if os.geteuid() != 0:
        first += ["--user", "--map-root-user"]
        then = f"unshare --user --map-user={os.geteuid()} --map-group={os.getegid()} "
    return [*first, "sh", "-c", f'{mounts} && exec {then}"$@"', "sh"]


class Skip(Exception):
    """Raised by a scenario that cannot run on this machine; the text is the reason."""


def scenario(name):
    """Registers a function under the sentence that is its name; a name holds no colon."""
    assert ":" not in name, name

    def register(function):
        _scenarios.append((name, function))
        return function
    return register


def program(name):
    """The path of a built program; Skip-free: a missing one is a failure."""
    path = BIN / name
    assert path.exists(), f"{name} is not built"
    return path


# Sanitized programs are several times slower; every limit of a scenario is multiplied by this. A limit says when
# evidence is given up on, never how long something takes.
PATIENCE = {"asan": 4, "tsan": 8}.get(os.environ.get("SKEP_PRESET", ""), 1)


def run(argv, limit_s=60, **options):
    """Runs a command with no input and captured text; the first word may be a program of ours."""
    argv = [os.fsdecode(a) if isinstance(a, bytes) else str(a) for a in argv]
    if "/" not in argv[0] and (BIN / argv[0]).exists():
        argv[0] = str(BIN / argv[0])
    options.setdefault("stdin", subprocess.DEVNULL)
    if "input" in options:
        del options["stdin"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=limit_s * PATIENCE, **options)


def wait_until(what, condition, limit_s=30, every_s=0.02):
    """The first true value of `condition()`; AssertionError naming `what` after the limit. `every_s`: the least time between
    two looks. A look that starts programs takes a good part of a processor: between two of them it is left to others."""
    limit_s *= PATIENCE
    end = time.monotonic() + limit_s
    while True:
        began = time.monotonic()
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {limit_s} s: {what}"
        took_s = time.monotonic() - began
        time.sleep(max(every_s, min(2 * took_s, 0.4)))  # sleep: between two looks at evidence that has no descriptor to wait on


def side_by_side(calls, at_once=4):
    """Runs calls, each (function, *arguments), and prints what each returns; every failure is told, with the texts among its arguments."""
    failures = []
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        turns = {pool.submit(call, *arguments): arguments for call, *arguments in calls}
        for turn in concurrent.futures.as_completed(turns):
            if turn.exception():
                failures.append(f"{[x for x in turns[turn] if isinstance(x, str)]}: {turn.exception()}")
            else:
                print(f"# {turn.result()}", flush=True)
    assert not failures, "; ".join(failures)


def main():
    """Runs every registered scenario (or those whose name holds a word of the command line) and ends."""
    words = sys.argv[1:]
    failed = False
    for name, function in _scenarios:
        if words and not any(word in name for word in words):
            continue
        work = Path(tempfile.mkdtemp(prefix="skep-scenario-"))
        try:
            function(work)
            print(f"ok - {name}", flush=True)
        except Skip as reason:
            print(f"skip - {name}: {reason}", flush=True)
        except Exception as why:  # noqa: BLE001 any failure of a scenario is its result
            failed = True
            traceback.print_exc()
            text = str(why).strip() or type(why).__name__
            print(f"not ok - {name}: {text.splitlines()[0][:300]}", flush=True)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    sys.exit(1 if failed else 0)

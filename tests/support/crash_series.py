"""Series of runs in which skepd ends at its crash points (crash_runs.py), several at a time; each gives what it came to
and the texts of its failures."""
import collections
import concurrent.futures
import random
import re

from crash_runs import ENDLESS, FAILING, FAULTY, crash_run, judge

MOST_RECOVERY_POINTS = 40  # A daemon that takes two sandboxes up passes about so many.


def in_parallel(jobs, calls, say):
    """Runs callables that give a line each; the texts of their failures."""
    failures = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        turns = [pool.submit(call) for call in calls]
        for number, turn in enumerate(concurrent.futures.as_completed(turns), 1):
            try:
                line = turn.result()
            except Exception as why:  # noqa: BLE001 any failure of a run is its result
                failures.append(f"{type(why).__name__}: {why}")
                line = "FAILED " + failures[-1]
            say(f"[{number}/{len(turns)}] {line}")
    return failures


def kinds_of(names):
    """{KIND: how many passages} and the set of names without their #K."""
    return dict(collections.Counter(name.partition(":")[0] for name in names)), {n.rpartition("#")[0] for n in names}


def at_point(work, repo, seed, name, plain, **shape):
    run = crash_run(work, repo, seed, at=name, **shape)
    judge(run, plain)
    return f"{name}: {'killed' if run.killed else 'not reached'}, {run.swarm['state']}", run.killed


def all_points(work, repo, jobs, say, seed=1, wanted=None, **shape):
    """(names of the points, those that were reached, failures); `shape`: how many sandboxes and panes."""
    plain = crash_run(work, repo, seed, **shape)
    judge(plain, plain)
    names = wanted or plain.names
    reached = set()

    def one(name):
        line, killed = at_point(work, repo, seed, name, plain, **shape)
        if killed:
            reached.add(name)
        return line
    failures = in_parallel(jobs, [lambda name=name: one(name) for name in names], say)
    return names, reached, failures


def stop_points(work, repo, jobs, say, seed=1):
    """A run that is stopped, killed at each point from the stop on: (names, reached, failures)."""
    plain = crash_run(work, repo, seed, play=ENDLESS, stop=True)
    judge(plain, plain)
    began = next(i for i, name in enumerate(plain.names) if name.startswith(("append:command.asked", "append:command.accepted")) and i > 0
                 and "append:pane.started#1" in plain.names[:i])
    names, reached = plain.names[began:], set()

    def one(name):
        run = crash_run(work, repo, seed, at=name, play=ENDLESS, stop=True)
        judge(run, plain, whole=False)
        if run.killed:
            reached.add(name)
        return f"{name}: {'killed' if run.killed else 'not reached'}, {run.swarm['result']}"
    failures = in_parallel(jobs, [lambda name=name: one(name) for name in names], say)
    return names, reached, failures


def failing_points(work, repo, jobs, say, seed=1):
    """A run whose sandbox fails, killed at each point from its first error on: (names, reached, failures)."""
    plain = crash_run(work, repo, seed, play=FAILING)
    judge(plain, plain)
    assert plain.swarm["result"] == 2 and "Step: " in plain.swarm["error_text"], plain.swarm  # 2: failed
    names, reached = plain.names[plain.names.index("append:sandbox.failing#1"):], set()

    def one(name):
        run = crash_run(work, repo, seed, at=name, play=FAILING)
        judge(run, plain, whole=False)
        told = [re.sub(r"\b[a-z]{2}_[0-9a-z]+", "ID", r.swarm["error_text"]) for r in (run, plain)]
        assert told[0] == told[1], f"killed at {name} the first error is {told[0]}, undisturbed {told[1]}"
        if run.killed:
            reached.add(name)
        return f"{name}: {'killed' if run.killed else 'not reached'}, {run.swarm['result']}"
    failures = in_parallel(jobs, [lambda name=name: one(name) for name in names], say)
    return names, reached, failures


def recovery_points(work, repo, jobs, say, at, seed=1, wanted=None):
    """A run that is killed at the point `at`, and the daemon that takes over at each of its points: (names of them, those
    that were reached, failures); `wanted`: picks from the names."""
    plain = crash_run(work, repo, seed)
    judge(plain, plain)
    once = crash_run(work, repo, seed, at=at, again="")
    judge(once, plain)
    assert once.killed, f"nobody was killed at {at}"
    names, reached = wanted(once.names_again) if wanted else once.names_again, set()

    def one(name):
        run = crash_run(work, repo, seed, at=at, again=name)
        judge(run, plain)
        if run.killed_again:
            reached.add(name)
        return f"{at}, then {name}: {'killed' if run.killed_again else 'not reached'}, {run.swarm['state']}"
    failures = in_parallel(jobs, [lambda name=name: one(name) for name in names], say)
    return names, reached, failures


def at_seed(work, repo, seed):
    """The run of this seed undisturbed, then killed at a point that the seed draws, and the daemon that takes over at
    another."""
    plain = crash_run(work, repo, seed, play=FAULTY, sandboxes=2, panes=1)
    judge(plain, plain)
    drawn = random.Random(seed)
    number, number_again = drawn.randint(1, len(plain.names)), drawn.randint(1, MOST_RECOVERY_POINTS)
    run = crash_run(work, repo, seed, at=str(number), play=FAULTY, sandboxes=2, panes=1, again=str(number_again))
    judge(run, plain)
    return f"seed {seed}, point {number} of {len(plain.names)} ({(run.names or ['none'])[-1]}): " \
        f"{'killed' if run.killed else 'not reached'}, again at {number_again} ({(run.names_again or ['none'])[-1]}): " \
        f"{'killed' if run.killed_again else 'not reached'}, {plain.swarm['result']}, {len(run.lines('fault'))} faults", \
        run.killed, run.killed_again


def seeds(work, repo, first, count, jobs, say):
    """(runs that were killed, those that were killed a second time, failures)."""
    killed, again = [], []

    def one(seed):
        line, reached, reached_again = at_seed(work, repo, seed)
        if reached:
            killed.append(seed)
        if reached_again:
            again.append(seed)
        return line
    failures = in_parallel(jobs, [lambda seed=seed: one(seed) for seed in range(first, first + count)], say)
    return len(killed), len(again), failures

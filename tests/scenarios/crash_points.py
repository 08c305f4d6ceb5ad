#!/usr/bin/python3
"""skepd ends by SIGKILL at its crash points, is started again, and the simulator's record, the journal and the files are
judged (tests/support/crash_runs.py, crash_series.py). tools/crashtest has the long form and repeats one point or seed.

SKEP_CRASH_SEEDS=N makes N seeded runs under faults instead of 50."""
# presets: dev
# timeout: 900
# alone: it starts some hundred daemons, and its leases are short
import json
import os

from crash_series import all_points, failing_points, kinds_of, recovery_points, seeds, stop_points
from installation import repository
from scenario import SOURCE, main, scenario

JOBS = 2 * (os.cpu_count() or 2) + 4
SEEDS = int(os.environ.get("SKEP_CRASH_SEEDS", "50"))
LEAST = json.loads((SOURCE / "tests" / "data" / "crash-points.json").read_text())
FILES = {"file.txt": "text\n", "src/main.c": "int main() { return 0; }\n"}


def quiet(_):
    pass


@scenario("a daemon killed at any crash point of a run loses, doubles and leaves nothing, and the run ends as undisturbed")
def _(work):
    repo = repository(work / "repo", FILES)
    names, reached, failures = all_points(work, repo, JOBS, quiet)
    kinds, labels = kinds_of(names)
    print(f"# {len(names)} points of {len(labels)} names, {kinds}; killed at {len(reached)}")
    assert not failures, f"{len(failures)} of {len(names)}: " + "; ".join(failures)
    assert len(names) >= LEAST["points"], f"{len(names)} points, and there were {LEAST['points']}"
    missing = set(LEAST["names"]) - labels
    assert not missing, f"crash points that are gone: {sorted(missing)}"
    unreached = labels - {name.rpartition("#")[0] for name in reached}
    assert not unreached, f"nobody was killed at {sorted(unreached)}"


@scenario("a daemon killed between the sandboxes of a run begins those that are missing, and no other one again")
def _(work):
    repo = repository(work / "repo", FILES)
    wanted = ["stored:sandbox.queued#1", "append:sandbox.queued#2", "stored:sandbox.queued#2", "append:sandbox.create_intended#2"]
    _, reached, failures = all_points(work, repo, JOBS, quiet, wanted=wanted, sandboxes=2, panes=1)
    assert not failures, "; ".join(failures)
    assert len(reached) >= 3, reached


@scenario("a daemon killed at any crash point of a stop loses, doubles and leaves nothing, and the run is cancelled")
def _(work):
    repo = repository(work / "repo", FILES)
    names, reached, failures = stop_points(work, repo, JOBS, quiet)
    print(f"# {len(names)} points from the stop on, killed at {len(reached)}")
    assert not failures, f"{len(failures)} of {len(names)}: " + "; ".join(failures)
    assert len(reached) >= LEAST["stop_points"], f"killed at {len(reached)} points, and there were {LEAST['stop_points']}"


@scenario("a daemon killed at any crash point after the first error of a sandbox closes it with that error and its step")
def _(work):
    repo = repository(work / "repo", FILES)
    names, reached, failures = failing_points(work, repo, JOBS, quiet)
    print(f"# {len(names)} points from the first error on, killed at {len(reached)}")
    assert not failures, f"{len(failures)} of {len(names)}: " + "; ".join(failures)
    labels = {name.rpartition("#")[0] for name in reached}
    between = {"stored:sandbox.failing", "call:kill", "answer:kill", "append:sandbox.closed"}
    assert between <= labels, f"nobody was killed at {sorted(between - labels)}"


@scenario("a daemon killed while it recovers loses, doubles and leaves nothing, and the run ends as undisturbed")
def _(work):
    repo = repository(work / "repo", FILES)
    # Taking up what ran, a create without an answer, a kill that nobody saw confirmed: from the daemon's start to there.
    for at, last in (("append:pane.started#2", "answer:set_timeout#1"), ("answer:create#1", "append:sandbox.created#1"),
                     ("call:kill#1", "append:sandbox.closed#1")):
        names, reached, failures = recovery_points(work, repo, JOBS, quiet, at,
                                                   wanted=lambda names, last=last: names[:names.index(last) + 1])
        print(f"# {len(names)} points after {at}, killed again at {len(reached)}")
        assert not failures, f"{len(failures)} of {len(names)}: " + "; ".join(failures)
        # Which calls are sent before which is not always the same.
        assert len(reached) >= len(names) * 3 // 4, f"after {at} {sorted(set(names) - reached)} were not reached"


@scenario("a daemon killed at seeded points under faults, and again while it recovers, loses, doubles and leaves nothing")
def _(work):
    repo = repository(work / "repo", FILES)
    killed, again, failures = seeds(work, repo, 1, SEEDS, JOBS, quiet)
    print(f"# seeds 1 to {SEEDS}, killed in {killed}, twice in {again}")
    assert not failures, f"{len(failures)} of {SEEDS}: " + "; ".join(failures)
    assert killed >= SEEDS // 2, f"only {killed} of {SEEDS} came to their point"
    assert again >= SEEDS // 5, f"only {again} of {SEEDS} were killed while they recovered"


main()

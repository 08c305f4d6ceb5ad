#!/usr/bin/python3
"""Runs the project's tests, stage by stage, and says how long each took. Started by tools/test.

    tools/test                     what continuous integration runs
    tools/test --all               release and the fresh root as well
    tools/test --quick             check, the dev build and its unit tests: for each commit
    tools/test --preset asan       build and test one preset
    tools/test --stage S [...]     the named stages alone
    tools/test --list              the stages and what each does

Builds go one after the other, and beside them, as soon as what they need is built, the tests of dev: a build computes,
a test mostly waits. Once all but fuzz is built, those of asan go beside them, and the tests that compute (tsan, fuzz).

The last line is always `N passed, N failed, N skipped`: single test cases over all builds, and each stage
that has no test cases of its own as one. A skip that tests/expected-skips does not list fails the run.
Exit code: 0, or 1 where anything failed.
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "build" / "test-results"
EXPECTED_SKIPS = ROOT / "tests" / "expected-skips"
STAGE_LIMIT_S = 40 * 60  # A stage that hangs ends here, before the limit of the whole run.
NOTHING_BESIDE = RESULTS / "nothing-beside"  # There once what still runs has the machine for itself.


def call(*argv):
    """Runs one command of a stage with no input; True when it ended with 0 in time."""
    process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return process.wait(STAGE_LIMIT_S) == 0
    except subprocess.TimeoutExpired:
        print(f"    no end within {STAGE_LIMIT_S} s: {' '.join(argv)}", flush=True)
        return False
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def run_asan():
    """One test a processor beside others; alone, with one a processor, half of the time was idle."""
    return run_tests("asan", "asan", "--later", str((os.cpu_count() or 1) + 2), "--once", str(NOTHING_BESIDE))


def run_tests(preset, name, *options):
    """A stage of tests; its result file carries the stage's name."""
    return call("tools/lib/run_tests.py", preset, *options, "--out", str(RESULTS / f"{name}.json"))


def build_tsan():
    """Only the programs whose tests run under ThreadSanitizer: those with the label vclock."""
    if not call("tools/lib/build", "tsan", "skep_test_main"):
        return False
    listing = subprocess.run(["ctest", "--show-only=json-v1", "-L", "vclock"], check=True,
                             cwd=ROOT / "build" / "tsan", capture_output=True, text=True)
    targets = [f"test_{test['name']}" for test in json.loads(listing.stdout)["tests"]]
    if not targets:
        print("    no test has the label vclock yet")
        return True
    return call("tools/lib/build", "tsan", *targets)


def coverage():
    """Coverage of our code by the unit tests, held against the bar of tools/lib/coverage_bar.py."""
    summary = "build/coverage/summary.json"
    return (call("tools/lib/build", "coverage")
            and run_tests("coverage", "coverage", "--unit")
            and call("gcovr", "--root", ".", "--object-directory", "build/coverage", "--exclude", "tests/",
                     "--exclude", "build/", "--gcov-ignore-parse-errors", "--txt", "--json-summary", summary)
            and call("tools/lib/coverage_bar.py", summary, str(RESULTS / "coverage.json")))


# What a stage is: it builds or looks, it tests with cases of its own, or it tests as one.
BUILD, CASES, TEST = 0, 1, 2
# name, what it does, what must have passed before (of what is run at all), its kind, how.
STAGES = [
    ("setup", "install what building and testing needs", (), BUILD,
     lambda: call("tools/setup", "--for", "test")),
    ("check", "format, include rule, documents, suppressions", ("setup",), BUILD,
     lambda: call("tools/check")),
    ("build-dev", "build the preset dev", (), BUILD,
     lambda: call("tools/lib/build", "dev")),
    ("unit", "unit tests of dev, without a network", ("build-dev",), CASES,
     lambda: run_tests("dev", "unit", "--unit", "--offline")),
    ("scenarios", "whole programs of dev, end to end", ("build-dev",), CASES,
     lambda: run_tests("dev", "scenarios", "--scenarios")),
    ("build-asan", "build with AddressSanitizer and UndefinedBehaviorSanitizer", (), BUILD,
     lambda: call("tools/lib/build", "asan")),
    ("asan", "unit tests and scenarios of asan", ("build-asan",), CASES, run_asan),
    ("build-tsan", "build the virtual-clock tests with ThreadSanitizer", (), BUILD, build_tsan),
    ("tsan", "virtual-clock tests of tsan", ("build-tsan",), CASES,
     lambda: run_tests("tsan", "tsan", "--unit", "--label", "vclock", "--jobs", "1")),
    ("bench", "every bench, tiny", ("build-dev",), TEST,
     lambda: call("tools/bench", "--all", "--tiny")),
    ("build-release", "build what users run, and the benches", (), BUILD,
     lambda: call("tools/lib/build", "release", "skep_programs", "skep_benches")),
    ("fresh", "the README's first command on a fresh Debian, as root and as a user", ("build-release",), CASES,
     lambda: run_tests("release", "fresh", "--scenarios")),
    ("build-fuzz", "build the fuzz targets with clang", (), BUILD,
     lambda: call("tools/setup", "--for", "fuzz") and call("tools/lib/build", "fuzz", "skep_fuzz")),
    ("fuzz", "200,000 executions of each fuzz target of the network's edges", ("build-fuzz",), CASES,
     lambda: call("tools/lib/run_fuzz.py", "--out", str(RESULTS / "fuzz.json"))),
    # The stage `check` comes before any build: on a clean clone it has no program to hold the documents against.
    ("rows", "docs/capabilities.md and the documents against what was built and really ran", ("build-dev", "unit", "scenarios"), TEST,
     lambda: call("tools/check", "--only", "capabilities", "--only", "documents", "--results")),
    ("coverage", "coverage of the unit tests and its bar (not part of a plain run)", (), CASES, coverage),
]
# Left to --all: release and the fresh root that runs it, a build of its own. Coverage is asked for by name.
NOT_BY_DEFAULT = {"coverage", "build-release", "fresh"}
# They compute, and nobody waits for them: in a lane of their own, behind the last build that they need.
COMPUTING = {"tsan", "fuzz"}
# What only has to be over, however it ended. Not the build of fuzz: with an empty cache it takes as long as that of tsan.
BEHIND = {"asan": ("build-tsan",)}
# The longest, in a lane of its own: beside the scenarios of dev, but not beside large builds. And what looks at all results.
LONGEST = {"asan", "rows"}
QUICK = ("check", "build-dev", "unit")
BY_PRESET = {"dev": ("build-dev", "unit", "scenarios"), "asan": ("build-asan", "asan"),
             "tsan": ("build-tsan", "tsan"), "release": ("build-release", "fresh"),
             "coverage": ("coverage",), "fuzz": ("build-fuzz", "fuzz")}


def expected_skips():
    """Names of the test cases that may be skipped, with the reason; a line is NAME<TAB>REASON."""
    lines = EXPECTED_SKIPS.read_text().splitlines() if EXPECTED_SKIPS.exists() else []
    return dict(line.split("\t", 1) for line in lines if "\t" in line and not line.startswith("#"))


def main():
    parser = argparse.ArgumentParser(prog="tools/test", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="check, dev build, unit tests")
    parser.add_argument("--preset", choices=sorted(BY_PRESET), help="build and test one preset")
    parser.add_argument("--stage", action="append", choices=[s[0] for s in STAGES], help="one stage; repeatable")
    parser.add_argument("--all", action="store_true", help="release and the fresh root too")
    parser.add_argument("--list", action="store_true", help="name the stages")
    args = parser.parse_args()
    if args.list:
        for name, what, *_ in STAGES:
            print(f"{name:14} {what}")
        return 0
    wanted = [s[0] for s in STAGES if s[0] not in NOT_BY_DEFAULT]
    if args.all:
        wanted = [s[0] for s in STAGES if s[0] != "coverage"]
    if args.quick:
        wanted = QUICK
    if args.preset:
        wanted = BY_PRESET[args.preset]
    if args.stage:
        wanted = args.stage

    RESULTS.mkdir(parents=True, exist_ok=True)
    return Run([s for s in STAGES if s[0] in wanted]).all()


def lane_of(stage):
    name, kind = stage[0], stage[3]
    return "compute" if name in COMPUTING else "longest" if name in LONGEST else "build" if kind == BUILD else "test"


class Run:
    """One run of stages, in four lanes: those that build, those that test what was built, tests that compute, and the longest."""

    def __init__(self, stages):
        self.stages = stages
        self.changed = threading.Condition()
        self.outcome = {}  # by stage: did it pass
        self.timings, self.failures = [], []
        self.count = dict.fromkeys(("passed", "failed", "skipped"), 0)
        self.allowed = expected_skips()

    def all(self):
        started = time.monotonic()
        NOTHING_BESIDE.unlink(missing_ok=True)
        lanes = [threading.Thread(target=self.lane, args=([s for s in self.stages if lane_of(s) == lane],), daemon=True)
                 for lane in ("build", "test", "compute", "longest")]
        for lane in lanes:
            lane.start()
        for lane in lanes[:-1]:
            lane.join()
        NOTHING_BESIDE.touch()
        lanes[-1].join()
        print("\nstage            seconds")
        for name, seconds, ok in self.timings:
            print(f"{name:14} {seconds:9.1f}{'' if ok else '  FAILED'}")
        print(f"{'all together':14} {time.monotonic() - started:9.1f}")
        for failure in self.failures:
            print(f"FAILED {failure}")
        print(f"{self.count['passed']} passed, {self.count['failed']} failed, {self.count['skipped']} skipped", flush=True)
        return 1 if self.count["failed"] or not all(self.outcome.values()) else 0

    def lane(self, stages):
        for name, what, needs, kind, action in stages:
            needs = [n for n in needs if any(s[0] == n for s in self.stages)]
            behind = [n for n in BEHIND.get(name, ()) if any(s[0] == n for s in self.stages)]
            with self.changed:
                self.changed.wait_for(lambda: all(n in self.outcome for n in needs + behind))  # noqa: B023 used at once
                broken = [n for n in needs if not self.outcome[n]]
            print(f"== {name}: {what}", flush=True)
            (RESULTS / f"{name}.json").unlink(missing_ok=True)
            if broken:
                print(f"    not run: {', '.join(broken)} failed")
            started = time.monotonic()
            try:
                ok = not broken and action()
            except Exception as why:  # noqa: BLE001 a stage that breaks is a stage that failed
                print(f"    {name}: {type(why).__name__}: {why}")
                ok = False
            with self.changed:
                ok = self.take(name, kind == CASES, ok, bool(broken))
                self.outcome[name] = ok
                self.timings.append((name, time.monotonic() - started, ok))
                self.changed.notify_all()
            print(f"   {name}: {'ok' if ok else 'FAILED'}, {self.timings[-1][1]:.1f} s", flush=True)

    def take(self, name, has_cases, ok, broken):
        """Adds the results of a stage; whether it passed with all that is known."""
        file = RESULTS / f"{name}.json"
        try:
            results = json.loads(file.read_text())["results"] if file.exists() else []
        except (ValueError, KeyError):  # cut off while it was written
            results, ok = [], False
        failed = 0
        for result in results:
            status = result["status"]
            if status == "skipped" and result["name"] not in self.allowed:
                self.failures.append(f"{name}: skipped, and not in tests/expected-skips: {result['name']}")
                status, ok = "failed", False
            elif status == "failed":
                self.failures.append(f"{name}: {result['name']}")
            self.count[status] += 1
            failed += status == "failed"
        if not ok and not failed:
            self.count["failed"] += 1
            self.failures.append(f"{name}: the stage {'was not run' if broken else 'failed'}")
        elif ok and not has_cases:
            self.count["passed"] += 1
        return ok


if __name__ == "__main__":
    sys.exit(main())

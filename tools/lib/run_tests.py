#!/usr/bin/python3
"""Runs the tests of one build and counts single test cases, not programs.

    tools/lib/run_tests.py PRESET [--unit] [--scenarios] [--offline] [--label L] [--only WORD] [--jobs N]
                           [--later N --once FILE] [--out FILE]

Three kinds of test:
- Catch2 programs, as CTest knows them (name, environment, time limit, labels). Each writes an
  XML report; every TEST_CASE counts. A program that crashes, hangs or writes nothing counts as one failure
  of its own name.
- Scenario scripts, tests/scenarios/*.py: they print `ok - NAME`, `not ok - NAME: why` or
  `skip - NAME: reason`, one line a test. A script that ends with an error and no `not ok`, or that
  prints no result at all, counts as one failure. A line `# timeout: SECONDS` near its top sets its limit
  (default 300), a line `# presets: dev asan` the builds it is for (default dev and asan).
- With --offline, Catch2 programs see no network interface but lo (tools/lib/offline) and no key in their environment.
- Programs and scripts run N at a time (default: one a processor), for most of them wait more than they work; those
  with the longest limits begin. With --later N --once FILE it is that many as soon as FILE exists. A line `# alone: WHY` near a script's top keeps it for itself, after the others; a
  run with --once begins nothing beside such a script of another run.
- Under a sanitizer TMPDIR of Catch2 programs is in memory where the machine has room there: what is on disk is tested
  with dev. Scenarios stay on disk: nothing below /dev may be bound into a sandbox.
- What a program or script leaves running has a short time to end (tools/lib/contained); then it is ended and counts as
  one failure.
- A Catch2 case that cannot run here prints `SKIPPED: CASE: reason` (tests/support/skip.hpp).

Everything goes to build/test-results/PRESET[-LABEL].json: {"preset", "results": [{name, program, status,
reason, seconds}]}, from which tools/test sums up and tools/check learns what really ran.
"""
import argparse
import concurrent.futures
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from own_programs import search_path

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = re.compile(r"^SKIPPED: (.+?): (.*)$", re.MULTILINE)
SCENARIO_LINE = re.compile(r"^(ok|not ok|skip) - ([^:\n]+?)(?:: (.*))?$")
DEFAULT_UNIT_LIMIT_S = 300
DEFAULT_SCENARIO_LIMIT_S = 300
SANITIZED_LIMIT_FACTOR = 4
LEFT_BEHIND_LIMIT_S = 20  # For daemons that are on their way out when their test is over.
SYMBOLIZER = Path("/usr/lib/llvm-19/bin/llvm-symbolizer")  # Gives reports names; without it they have addresses.
LEAST_MEMORY_BYTES = 6 << 30  # Free in memory before tests keep their files there.
ALONE = ROOT / "build" / "test-results" / "alone"  # The process that runs a script which wants to be alone.
running = set()  # What is being run, to be taken along when we are interrupted.


def allowed(limit_s, preset):
    """A limit as it is for a preset: what a sanitizer watches takes longer."""
    return limit_s * (1 if preset in ("dev", "release") else SANITIZED_LIMIT_FACTOR)


def run_limited(argv, env, limit_s, cwd, preset):
    """Runs argv in a session of its own; at the limit it is killed with all that it started.

    Returns (exit code or None when it ran out of time, output, seconds, command lines of what it left running)."""
    started = time.monotonic()
    grace_s = allowed(LEFT_BEHIND_LIMIT_S, preset)
    with tempfile.TemporaryFile() as out, tempfile.NamedTemporaryFile() as told:
        process = subprocess.Popen([str(ROOT / "tools" / "lib" / "contained"), str(limit_s), str(grace_s), told.name, *argv],
                                   env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        running.add(process)
        process.wait()
        running.discard(process)
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
        try:
            end = json.loads(told.read())
        except ValueError:  # it was not even started, or somebody killed all of it
            end = {"code": process.returncode or 1, "left": []}
    return end["code"], text, time.monotonic() - started, end["left"]


def interrupted(*_):
    """Ends what runs and then us, without waiting for the threads that wait for it."""
    for process in list(running):
        process.terminate()
    os._exit(130)


def in_memory():
    """A folder in memory with room for what the tests write; None where there is none."""
    place = Path("/dev/shm")
    try:
        available = re.search(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
        room = min(shutil.disk_usage(place).free, int(available.group(1)) << 10)
    except (OSError, AttributeError):
        return None
    return str(place) if room >= LEAST_MEMORY_BYTES and os.access(place, os.W_OK) else None


def sanitizer_env(preset):
    """Settings of the sanitizers, with the suppression files that exist."""
    support = ROOT / "tests" / "support" / "sanitizers"
    names = f":external_symbolizer_path={SYMBOLIZER}" if SYMBOLIZER.exists() else ""
    env = {}
    if preset == "asan":
        env["ASAN_OPTIONS"] = "detect_stack_use_after_return=1:strict_string_checks=1:detect_leaks=1" + names
        env["UBSAN_OPTIONS"] = f"print_stacktrace=1:halt_on_error=1:suppressions={support}/ubsan.supp"
        env["LSAN_OPTIONS"] = f"suppressions={support}/lsan.supp:print_suppressions=0"
    elif preset == "tsan":
        env["TSAN_OPTIONS"] = f"halt_on_error=0:second_deadlock_stack=1:suppressions={support}/tsan.supp{names}"
    return env


def unit_tests(build, label):
    """The registered tests of a build: name, argv, environment, limit."""
    listing = subprocess.run(["ctest", "--show-only=json-v1"], cwd=build, capture_output=True,
                             text=True, check=True)
    for test in json.loads(listing.stdout).get("tests", []):
        props = {p["name"]: p["value"] for p in test.get("properties", [])}
        labels = props.get("LABELS", [])
        if "unit" not in labels or (label and label not in labels):
            continue
        if "command" not in test:
            yield test["name"], None, {}, 0
            continue
        env = dict(item.split("=", 1) for item in props.get("ENVIRONMENT", []))
        yield test["name"], test["command"], env, float(props.get("TIMEOUT", DEFAULT_UNIT_LIMIT_S))


def failure_text(element):
    """Where a TestCase element failed, expression and expansion, in a few lines."""
    lines = []
    for part in element.iter():
        where = f"{os.path.relpath(part.get('filename'), ROOT)}:{part.get('line')}: " \
            if part.get("filename") else ""
        if part.tag == "Expression" and part.get("success") == "false":
            original = (part.findtext("Original") or "").strip()
            expanded = (part.findtext("Expanded") or "").strip()
            lines.append(f"{where}{part.get('type')}({original}) with {expanded}")
        if part.tag in ("Failure", "Exception", "FatalErrorCondition"):
            lines.append(f"{where}{part.tag}: {(part.text or '').strip()}")
    return "\n".join(lines)


def parse_catch_xml(text):
    """What Catch2's xml reporter wrote: {case: (status, reason, seconds)} and the case it died in.

    After a crash the document has no end; the cases that were finished still count."""
    cases = {}
    for chunk in re.findall(r"<TestCase .*?</TestCase>", text, re.DOTALL):
        element = ElementTree.fromstring(chunk)
        overall = element.find("OverallResult")
        passed = overall is not None and overall.get("success") == "true"
        seconds = float(overall.get("durationInSeconds") or 0) if overall is not None else 0.0
        if overall is not None and int(overall.get("skips") or 0) and passed:  # Catch2 3
            cases[element.get("name")] = ("skipped", "SKIP()", seconds)
        else:
            cases[element.get("name")] = \
                ("passed", "", seconds) if passed else ("failed", failure_text(element), seconds)
    begun = [m.group(1) for m in re.finditer(r'<TestCase name="([^"]*)"', text)]
    ended = text.count("</TestCase>")
    died_in = ElementTree.fromstring(f'<x v="{begun[-1]}"/>').get("v") if len(begun) > ended else ""
    return cases, died_in


def without_keys():
    """Our environment without what looks like an account's key."""
    return {k: v for k, v in os.environ.items() if not re.search(r"(KEY|TOKEN|SECRET|PASSWORD)S?$", k)}


class Report:
    """What one program or script had to say: its results, and the lines for the terminal, printed in one piece."""

    def __init__(self, program):
        self.program = program
        self.results = []
        self.lines = []

    def add(self, name, status, reason="", seconds=0.0, output=""):
        self.results.append({"name": name, "program": self.program, "status": status, "reason": reason,
                             "seconds": round(seconds, 3)})
        if status == "skipped":
            self.say(f"skipped: {name}: {reason}")
        if status == "failed":
            self.say(f"FAILED {name}: {reason}".replace("\n", "\n    "))
            self.lines += ["    | " + line for line in output.splitlines()[-60:]]

    def add_left(self, left):
        """What was still running a while after its end is its failure."""
        if left:
            self.add(f"{self.program} leaves nothing running", "failed", "; ".join(line[:200] for line in left))

    def say(self, line):
        self.lines.append("    " + line)


def run_unit(name, argv, env, limit_s, preset, build, offline):
    """One Catch2 program."""
    report = Report(name)
    limit_s = allowed(limit_s, preset)
    if not argv or not os.path.exists(argv[0]):
        report.add(f"test_{name}", "failed", "it is not built")
        return report
    front = [str(ROOT / "tools" / "lib" / "offline")] if offline else []
    place = in_memory() if preset in ("asan", "tsan") else None
    if place:
        env = {"TMPDIR": place, **env}
    with tempfile.TemporaryDirectory() as scratch:
        xml = Path(scratch) / "result.xml"
        code, output, seconds, left = run_limited(
            [*front, *argv, "-r", "xml", "-d", "yes", "-o", str(xml)],
            {**(without_keys() if offline else os.environ), **sanitizer_env(preset), **env}, limit_s, build, preset)
        text = xml.read_text(errors="replace") if xml.exists() else ""
    cases, died_in = parse_catch_xml(text)
    for match in SKIPPED.finditer(output + "\n" + html.unescape(text)):
        cases[match.group(1)] = ("skipped", match.group(2), 0.0)
    for case, (status, reason, spent) in cases.items():
        report.add(case, status, reason, spent)
    if code is None:
        why = f"no end within {limit_s:.0f} s"
    elif died_in or code < 0:
        why = f"it ended with {code}"
    elif not cases:
        why = f"no result; it ended with {code}"
    elif code != 0 and all(c[0] != "failed" for c in cases.values()):
        why = f"it ended with {code} though every case passed"
    else:
        why = ""
    if why:
        report.add(died_in or f"test_{name}", "failed", why, seconds, output)
    report.add_left(left)
    report.say(f"{name}: {len(cases)} cases, {seconds:.1f} s")
    return report


def run_scenario(script, preset, build):
    """One scenario script."""
    report = Report(f"scenarios/{script.stem}")
    limit_s = allowed(scenario_limit(script), preset)
    env = {**os.environ, **sanitizer_env(preset), "PATH": search_path(), "SKEP_BIN": str(build / "bin"),
           "SKEP_SOURCE": str(ROOT), "SKEP_PRESET": preset, "PYTHONUNBUFFERED": "1",
           "PYTHONPATH": str(ROOT / "tests" / "support"), "PYTHONDONTWRITEBYTECODE": "1"}
    code, text, seconds, left = run_limited(["/usr/bin/python3", str(script)], env, limit_s, ROOT, preset)
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for match in filter(None, map(SCENARIO_LINE.match, text.splitlines())):
        status = {"ok": "passed", "not ok": "failed", "skip": "skipped"}[match.group(1)]
        counts[status] += 1
        report.add(match.group(2), status, match.group(3) or "")
    if code is None:
        report.add(report.program, "failed", f"no end within {limit_s:.0f} s", seconds, text)
    elif code != 0 and not counts["failed"]:
        report.add(report.program, "failed", f"it ended with {code}", seconds, text)
    elif not sum(counts.values()):
        report.add(report.program, "failed", "it printed no result", seconds, text)
    elif counts["failed"]:
        report.lines += ["    | " + line for line in text.splitlines()[-60:]]
    report.add_left(left)
    report.say(f"{report.program}: {sum(counts.values())} results, {seconds:.1f} s")
    return report


def header(script, word):
    """The value of a line `# WORD: VALUE` near the top of a script; None without one."""
    found = re.search(rf"^# {word}: (.+)$", script.read_text()[:4000], re.MULTILINE)
    return found.group(1) if found else None


def scenario_limit(script):
    return float(header(script, "timeout") or DEFAULT_SCENARIO_LIMIT_S)


def scenarios(preset, only, alone):
    """The scripts for this build; those that run by themselves, or the others. The longest first: none begins last
    and goes on alone."""
    for script in sorted((ROOT / "tests" / "scenarios").glob("*.py"), key=lambda s: (-scenario_limit(s), s.name)):
        if not script.name.startswith("_") and (not only or only in script.name) \
                and preset in (header(script, "presets") or "dev asan").split() \
                and bool(header(script, "alone")) == alone:
            yield script


def somebody_alone():
    """A run that lives says that it wants nothing beside it."""
    try:
        os.kill(int(ALONE.read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def run_alone(script, preset, build):
    """A script beside which other runs begin nothing, if they mind."""
    ALONE.parent.mkdir(parents=True, exist_ok=True)
    ALONE.write_text(str(os.getpid()))
    try:
        return run_scenario(script, preset, build)
    finally:
        ALONE.unlink(missing_ok=True)


class Places:
    """How many tests run at a time: `now`, and `later` as soon as the file `once` exists."""

    def __init__(self, now, later, once):
        self.now, self.later, self.once = now, later, once
        self.taken = 0
        self.changed = threading.Condition()

    def free(self):
        return not (self.once and somebody_alone()) and self.taken < (self.later if self.once and self.once.exists() else self.now)

    def run(self, test, *args):
        with self.changed:
            while not self.changed.wait_for(self.free, timeout=1):  # nothing tells when a file is there
                pass
            self.taken += 1
        try:
            return test(*args)
        finally:
            with self.changed:
                self.taken -= 1
                self.changed.notify()


def run_all(args, build):
    """Yields the reports of everything asked for, as they come."""
    both = args.unit == args.scenarios
    places = Places(args.jobs, max(args.jobs, args.later), args.once)
    with concurrent.futures.ThreadPoolExecutor(places.later) as pool:
        tasks = []
        if args.unit or both:
            tasks += [pool.submit(places.run, run_unit, *test, args.preset, build, args.offline)
                      for test in unit_tests(build, args.label) if not args.only or args.only in test[0]]
        if args.scenarios or both:
            tasks += [pool.submit(places.run, run_scenario, script, args.preset, build)
                      for script in scenarios(args.preset, args.only, False)]
        for task in concurrent.futures.as_completed(tasks):
            yield task.result()
    if args.scenarios or both:
        for script in scenarios(args.preset, args.only, True):
            yield run_alone(script, args.preset, build)


def main():
    parser = argparse.ArgumentParser(description="runs the tests of one build")
    parser.add_argument("preset")
    parser.add_argument("--unit", action="store_true", help="the Catch2 programs")
    parser.add_argument("--scenarios", action="store_true", help="the scenario scripts")
    parser.add_argument("--offline", action="store_true", help="no network interface but lo for the Catch2 programs")
    parser.add_argument("--label", help="only programs with this CTest label")
    parser.add_argument("--only", help="only programs and scripts whose name holds this word")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at a time (default: %(default)s)")
    parser.add_argument("--later", type=int, default=0, help="how many at a time as soon as the file --once exists")
    parser.add_argument("--once", type=Path, help="see --later")
    parser.add_argument("--out", help="the result file")
    args = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    results = []
    for report in run_all(args, ROOT / "build" / args.preset):
        results += report.results
        print("\n".join(report.lines), flush=True)
    results.sort(key=lambda r: r["program"])  # Stable: the cases of a program stay in their order.
    out = Path(args.out) if args.out else ROOT / "build" / "test-results" / f"{args.preset}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"preset": args.preset, "results": results}, indent=1))
    count = {s: sum(r["status"] == s for r in results) for s in ("passed", "failed", "skipped")}
    print(f"    {args.preset}: {count['passed']} passed, {count['failed']} failed, "
          f"{count['skipped']} skipped")
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())

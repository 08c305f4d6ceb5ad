#!/usr/bin/python3
"""Runs the fuzz targets of build/fuzz and counts each as one test.

    tools/lib/run_fuzz.py [--runs N] [--full] [--only NAME] [--out FILE]

Each target starts from its committed corpus, tests/fuzz/corpus/NAME, and gets N executions (200,000) with a
fixed seed, two targets at once; those that are no edge of the network (EASY) get a tenth of it, the one that
works on files a hundredth and the one that runs git as well a fiftieth, unless --full is given. New inputs that reach new code go to build/fuzz/corpus/NAME
and are the next run's start as well.

An input that breaks a promise, crashes, hangs for 10 s or takes more than 1 GiB is a failure; it lies in
build/fuzz/findings and belongs into a unit test. A target whose corpus reaches hardly more code than an empty
input does is a failure too: it tests nothing.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "fuzz"
CORPUS = ROOT / "tests" / "fuzz" / "corpus"
# A part of the executions, by target; a target that is not here gets all of them.
EASY = {"broker": 10, "claude": 10, "git_output": 10, "guest_answers": 10, "manifest": 10, "messages": 10, "unpack": 100, "results": 50}
LEAST_MORE_EDGES = 50  # What a corpus must reach beyond what an empty input reaches.
TARGET_LIMIT_S = 15 * 60


def libfuzzer(name, runs, *folders):
    """(exit code, -1 where it did not end; what it printed)."""
    try:
        process = subprocess.run(
            [BUILD / "bin" / "skep_fuzz", name, f"-runs={runs}", "-seed=1", "-max_len=4096", "-timeout=10",
             "-rss_limit_mb=1024", "-print_final_stats=1", f"-artifact_prefix={BUILD}/findings/{name}-", *folders],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=TARGET_LIMIT_S, check=False, env={**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"})
        return process.returncode, process.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as e:
        return -1, (e.stdout or b"").decode(errors="replace")


def edges(text):
    """The edges of the program's graph that were reached when it ended."""
    found = re.findall(r"\bcov: (\d+)", text)
    return int(found[-1]) if found else 0


def run(name, runs):
    """One target to its end: what the result file says of it, and its last lines when it failed."""
    grown = BUILD / "corpus" / name
    for folder in (grown, BUILD / "findings"):
        folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    least = edges(libfuzzer(name, 1)[1]) + LEAST_MORE_EDGES
    code, text = libfuzzer(name, runs, grown, CORPUS / name)
    seconds = time.monotonic() - started
    executions = int((re.findall(r"stat::number_of_executed_units: (\d+)", text) or [0])[-1])
    reason = ""
    if code != 0 or executions < runs:
        reason = f"ended with {code} after {executions} executions"
    elif edges(text) < least:
        reason = f"only {edges(text)} edges reached; an empty input and {LEAST_MORE_EDGES} are {least}"
    print(f"    {name:12} {executions:>8} executions, {seconds:6.1f} s, {edges(text):6} edges{'  FAILED' if reason else ''}",
          flush=True)
    if reason:
        print("\n".join(text.splitlines()[-40:]), f"\n    {reason}", flush=True)
    return {"name": f"fuzz {name}", "program": f"skep_fuzz {name}", "status": "failed" if reason else "passed",
            "reason": reason, "seconds": round(seconds, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200_000, help="executions of each target")
    parser.add_argument("--full", action="store_true", help="as many of the easy targets too")
    parser.add_argument("--only", help="this target alone")
    parser.add_argument("--out", type=Path, help="file for the results")
    args = parser.parse_args()
    names = sorted((p.name for p in CORPUS.iterdir() if p.is_dir()), key=lambda n: (EASY.get(n, 1), n))
    if args.only and args.only not in names:
        print(f"run_fuzz: no target '{args.only}'; there are: {', '.join(names)}", file=sys.stderr)
        return 64
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda n: run(n, args.runs // (1 if args.full else EASY.get(n, 1))),
                                [args.only] if args.only else names))
    print(f"    {len(results)} targets in {time.monotonic() - started:.1f} s")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps({"preset": "fuzz", "results": results}, indent=1))
    return 0 if all(r["status"] == "passed" for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())

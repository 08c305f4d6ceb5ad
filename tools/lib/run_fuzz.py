#!/usr/bin/python3
"""Runs the fuzz targets of build/fuzz and counts each as one test.

    tools/lib/run_fuzz.py [--runs N] [--only NAME] [--out FILE]

Each target starts from its committed corpus, tests/fuzz/corpus/NAME, and gets N executions (200,000; the
one that works on files a hundredth of it) with a fixed seed. New inputs that reach new code go to
build/fuzz/corpus/NAME and are the next run's start as well. An input that breaks a promise, crashes, hangs
for 10 s or takes more than 1 GiB is a failure; it lies in build/fuzz/findings and belongs into a unit test.
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
SLOW = {"unpack"}  # Works on files.
TARGET_LIMIT_S = 15 * 60


def run(name, runs):
    """One target to its end: what the result file says of it, and its last lines when it failed."""
    grown = BUILD / "corpus" / name
    findings = BUILD / "findings"
    grown.mkdir(parents=True, exist_ok=True)
    findings.mkdir(parents=True, exist_ok=True)
    runs = runs // 100 if name in SLOW else runs
    started = time.monotonic()
    try:
        process = subprocess.run(
            [BUILD / "bin" / f"fuzz_{name}", f"-runs={runs}", "-seed=1", "-max_len=4096", "-timeout=10",
             "-rss_limit_mb=1024", "-print_final_stats=1", f"-artifact_prefix={findings}/{name}-", grown,
             CORPUS / name],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=TARGET_LIMIT_S, check=False, env={**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"})
        text, code = process.stdout.decode(errors="replace"), process.returncode
    except subprocess.TimeoutExpired as e:
        text, code = (e.stdout or b"").decode(errors="replace"), -1
    seconds = time.monotonic() - started
    done = re.search(r"stat::number_of_executed_units: (\d+)", text)
    enough = code == 0 and done is not None and int(done.group(1)) >= runs
    print(f"    {name:12} {done.group(1) if done else '?':>8} executions, {seconds:6.1f} s"
          f"{'' if enough else '  FAILED'}", flush=True)
    if not enough:
        print("\n".join(text.splitlines()[-40:]), flush=True)
    return {"name": f"fuzz {name}", "program": f"fuzz_{name}", "status": "passed" if enough else "failed",
            "reason": "" if enough else f"ended with {code}", "seconds": round(seconds, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200_000, help="executions of each target")
    parser.add_argument("--only", help="this target alone")
    parser.add_argument("--out", type=Path, help="file for the results")
    args = parser.parse_args()
    names = sorted(p.name for p in CORPUS.iterdir() if p.is_dir())
    if args.only and args.only not in names:
        print(f"run_fuzz: no target '{args.only}'; there are: {', '.join(names)}", file=sys.stderr)
        return 64
    started = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results = list(pool.map(lambda n: run(n, args.runs), [args.only] if args.only else names))
    print(f"    {len(results)} targets in {time.monotonic() - started:.1f} s")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps({"preset": "fuzz", "results": results}, indent=1))
    return 0 if all(r["status"] == "passed" for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())

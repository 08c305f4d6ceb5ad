#!/usr/bin/python3
"""Holds coverage figures and the number of test cases against the bar:  tools/lib/coverage_bar.py SUMMARY RESULTS

SUMMARY is what `gcovr --json-summary` wrote, RESULTS what tools/lib/run_tests.py wrote of the same run. Prints each figure
beside its bar; exit code 1 where one is below it or missing.
"""
import json
import sys
from pathlib import Path

FUNCTIONS_PERCENT = 87.5
LINES_PERCENT = 83.0
MORE_CASES_THAN = 441


def main():
    summary, results = (json.loads(Path(name).read_text()) for name in sys.argv[1:3])
    passed = sum(r["status"] == "passed" for r in results["results"])
    figures = [("functions", summary.get("function_percent"), FUNCTIONS_PERCENT, "%"),
               ("lines", summary.get("line_percent"), LINES_PERCENT, "%"),
               ("passed cases", passed, MORE_CASES_THAN + 1, "")]
    low = False
    for name, value, bar, unit in figures:
        good = value is not None and value >= bar
        low = low or not good
        print(f"    {name:13} {value}{unit}, bar {bar}{unit}{'' if good else '  BELOW'}")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())

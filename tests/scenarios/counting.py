#!/usr/bin/python3
"""tools/lib/run_tests.py counts honestly: crashes, hangs, empty runs and skips are seen."""
# presets: dev
import json
import os
import shutil

from scenario import SOURCE, main, run, scenario

# What a Catch2 program would do, by the first word of its environment variable PLAY.
STAND_IN = """#!/usr/bin/python3
import os, signal, sys
play = os.environ["PLAY"]
out = sys.argv[sys.argv.index("-o") + 1]
case = '<TestCase name="%s"><OverallResult success="%s" durationInSeconds="0.1"/></TestCase>'
with open(out, "w") as f:
    f.write("<Catch><Group>" + case % ("one", "true"))
    if play == "fails":
        f.write('<TestCase name="two &amp; half" filename="x" line="1"><Expression success="false" type="CHECK" '
                'filename="x.cpp" line="7"><Original>1 == 2</Original><Expanded>1 == 2</Expanded></Expression>'
                '<OverallResult success="false"/></TestCase>')
    if play in ("crashes", "hangs"):
        f.write('<TestCase name="three" filename="x" line="1">')
    else:
        f.write("</Group></Catch>")
    f.flush()
    if play == "hangs":
        signal.pause()
    if play == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
if play == "empty":
    os.remove(out)
if play == "skips":
    print("SKIPPED: one: no such thing here")
sys.exit(1 if play == "fails" else 0)
"""


def run_stand_in(work, play):
    """The results of a build whose only test program is the stand-in."""
    tools = work / "tree" / "tools" / "lib"
    tools.mkdir(parents=True)
    shutil.copy(SOURCE / "tools" / "lib" / "run_tests.py", tools)
    build = work / "tree" / "build" / "dev"
    build.mkdir(parents=True)
    program = build / "test_play"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    (build / "CTestTestfile.cmake").write_text(
        f'add_test(play "{program}")\nset_tests_properties(play PROPERTIES TIMEOUT 2 LABELS unit ENVIRONMENT PLAY={play})\n')
    done = run(["/usr/bin/python3", tools / "run_tests.py", "dev", "--unit"], env={**os.environ})
    results = json.loads((work / "tree" / "build" / "test-results" / "dev.json").read_text())["results"]
    return done, {r["name"]: (r["status"], r["reason"]) for r in results}


@scenario("every test case of a program counts")
def _(work):
    done, results = run_stand_in(work, "passes")
    assert done.returncode == 0 and results == {"one": ("passed", "")}, results


@scenario("a failed case is named with its expression and place")
def _(work):
    done, results = run_stand_in(work, "fails")
    assert done.returncode == 1 and results["two & half"][0] == "failed", results
    assert "x.cpp:7" in results["two & half"][1] and results["one"][0] == "passed", results


@scenario("a program that crashes fails in the case it died in, and keeps the cases before")
def _(work):
    done, results = run_stand_in(work, "crashes")
    assert done.returncode == 1 and results["three"][0] == "failed" and results["one"][0] == "passed", results


@scenario("a program that hangs is ended at its limit and fails")
def _(work):
    done, results = run_stand_in(work, "hangs")
    assert done.returncode == 1 and "no end within 2 s" in results["three"][1], results


@scenario("a program that reports nothing fails")
def _(work):
    done, results = run_stand_in(work, "empty")
    assert done.returncode == 1 and results["test_play"][0] == "failed", results


@scenario("a skipped case is counted as skipped, with its reason")
def _(work):
    done, results = run_stand_in(work, "skips")
    assert done.returncode == 0 and results == {"one": ("skipped", "no such thing here")}, results


main()

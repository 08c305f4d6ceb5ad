#!/usr/bin/python3
"""tools/lib/run_tests.py counts honestly: crashes, hangs, empty runs and skips are seen."""
# presets: dev
import json
import os
import shutil

from scenario import SOURCE, Skip, main, run, scenario

# What a Catch2 program would do, by the first word of its environment variable PLAY.
STAND_IN = """#!/usr/bin/python3
import os, signal, subprocess, sys
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
if play == "offline":
    interfaces = [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]]
    if interfaces != ["lo"] or "PLAYED_API_KEY" in os.environ:
        sys.exit(f"interfaces {interfaces}")
if play == "empty":
    os.remove(out)
if play.startswith("leaves"):
    subprocess.Popen(["sleep", "0.5" if play == "leaves-briefly" else "3333"], start_new_session=True)
if play == "skips":
    print("SKIPPED: one: no such thing here")
sys.exit(1 if play == "fails" else 0)
"""


def run_stand_in(work, play, *options, **environment):
    """The results of a build whose only test program is the stand-in."""
    tools = work / "tree" / "tools" / "lib"
    tools.mkdir(parents=True)
    for name in ("run_tests.py", "own_programs.py", "offline", "contained"):
        shutil.copy(SOURCE / "tools" / "lib" / name, tools)
    runner = (tools / "run_tests.py").read_text()
    assert "LEFT_BEHIND_LIMIT_S = 20" in runner
    (tools / "run_tests.py").write_text(runner.replace("LEFT_BEHIND_LIMIT_S = 20", "LEFT_BEHIND_LIMIT_S = 3"))
    build = work / "tree" / "build" / "dev"
    build.mkdir(parents=True)
    program = build / "test_play"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    (build / "CTestTestfile.cmake").write_text(
        f'add_test(play "{program}")\nset_tests_properties(play PROPERTIES TIMEOUT 2 LABELS unit ENVIRONMENT PLAY={play})\n')
    done = run(["/usr/bin/python3", tools / "run_tests.py", "dev", "--unit", *options], env={**os.environ, **environment})
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


@scenario("a process that a program leaves in a session of its own fails it by its command line and is ended, unless it ends by itself")
def _(work):
    done, results = run_stand_in(work, "leaves")
    assert done.returncode == 1 and results["one"][0] == "passed", results
    assert results["play leaves nothing running"] == ("failed", "sleep 3333"), results
    assert "sleep 3333" not in run(["ps", "-eo", "args"]).stdout.splitlines()
    shutil.rmtree(work / "tree")
    done, results = run_stand_in(work, "leaves-briefly")
    assert done.returncode == 0 and results == {"one": ("passed", "")}, results


@scenario("a program that reports nothing fails")
def _(work):
    done, results = run_stand_in(work, "empty")
    assert done.returncode == 1 and results["test_play"][0] == "failed", results


@scenario("unit tests run where there is no network interface but lo and no key")
def _(work):
    if run([SOURCE / "tools" / "lib" / "offline", "true"]).stderr:
        raise Skip("this machine allows no network namespace")
    assert '"--unit", "--offline"' in (SOURCE / "tools" / "lib" / "test_stages.py").read_text(), "the stage `unit` is not offline"
    done, results = run_stand_in(work, "offline", "--offline", PLAYED_API_KEY="x")
    assert done.returncode == 0 and results == {"one": ("passed", "")}, results
    shutil.rmtree(work / "tree")
    done, results = run_stand_in(work, "offline", PLAYED_API_KEY="x")
    assert done.returncode == 1, "with a network the stand-in must fail"


@scenario("coverage below the bar, figures that are missing and too few cases fail the stage")
def _(work):
    def held(function, line, cases):
        summary, results = work / "summary.json", work / "results.json"
        summary.write_text(json.dumps({k: v for k, v in (("function_percent", function), ("line_percent", line)) if v}))
        results.write_text(json.dumps({"results": [{"status": "passed"}] * cases + [{"status": "skipped"}] * 1000}))
        return run([SOURCE / "tools" / "lib" / "coverage_bar.py", summary, results])

    assert held(87.5, 83.0, 442).returncode == 0
    for figures, word in (((87.4, 99.0, 999), "functions"), ((99.0, 82.9, 999), "lines"), ((99.0, 99.0, 441), "cases"),
                          ((None, 99.0, 999), "functions"), ((99.0, None, 999), "lines")):
        done = held(*figures)
        assert done.returncode == 1 and [word in line for line in done.stdout.splitlines() if "BELOW" in line] == [True], done.stdout


@scenario("a skipped case is counted as skipped, with its reason")
def _(work):
    done, results = run_stand_in(work, "skips")
    assert done.returncode == 0 and results == {"one": ("skipped", "no such thing here")}, results


main()

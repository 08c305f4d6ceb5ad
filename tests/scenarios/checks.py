#!/usr/bin/python3
"""tools/check finds what it is for: each rule is broken once, on purpose, in a copy of the tree."""
# presets: dev
import shutil
import subprocess
from pathlib import Path

from scenario import SOURCE, main, program, run, scenario


def copy_tree(work):
    """The tracked files as they are now, in a repository of their own."""
    copy = work / "tree"
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=SOURCE,
                           capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, names):
        if (SOURCE / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(SOURCE / name, copy / name)
    subprocess.run(["git", "init", "-q"], cwd=copy, check=True)
    return copy


def check(tree, *names):
    options = [word for name in names for word in ("--only", name)]
    return run(["tools/check", *options], cwd=tree)


def finds(tree, name, planted):
    """The check `name` fails, and its output names the planted file."""
    done = check(tree, name)
    assert done.returncode == 1, f"{name} did not see {planted}:\n{done.stdout}"
    assert planted in done.stdout, f"{name} failed without naming {planted}:\n{done.stdout}"


def append(tree, name, text):
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + text)


@scenario("tools/check accepts the tree as it is")
def _(work):
    done = check(copy_tree(work))
    assert done.returncode == 0, done.stdout


@scenario("an include against the table of rooms is found")
def _(work):
    tree = copy_tree(work)
    append(tree, "messages/planted.hpp", '#pragma once\n#include "storage/connection.hpp"\n')
    append(tree, "storage/planted.hpp", "#pragma once\n#include <zmq.hpp>\n")
    finds(tree, "rooms", "messages/planted.hpp:2")
    finds(tree, "rooms", "storage/planted.hpp:2")


@scenario("a link line against the table of rooms is found")
def _(work):
    tree = copy_tree(work)
    append(tree, "messages/CMakeLists.txt", "target_link_libraries(skep_messages PUBLIC skep_dep_curl)\n")
    finds(tree, "rooms", "messages/CMakeLists.txt")


@scenario("a file that clang-format would change is found")
def _(work):
    tree = copy_tree(work)
    append(tree, "messages/planted.hpp", "#pragma once\nint   planted( int a ) ;\n")
    finds(tree, "format", "messages/planted.hpp")


@scenario("a done row that names no test or one that does not exist is found")
def _(work):
    tree = copy_tree(work)
    path = tree / "docs" / "capabilities.md"
    lines = path.read_text().splitlines(keepends=True)
    rows = [i for i, line in enumerate(lines) if line.startswith("| S")]
    for index, last in ((rows[0], "no test named"), (rows[1], "`a test that nobody wrote`")):
        identity, text = lines[index].split("|")[1:3]
        lines[index] = f"|{identity}|{text}| done | {last} |\n"
    path.write_text("".join(lines))
    done = check(tree, "capabilities")
    assert done.returncode == 1 and done.stdout.count("docs/capabilities.md:") == 2, done.stdout
    path.write_text("".join(lines[:rows[2]] + lines[rows[3]:]))
    assert "is missing" in check(tree, "capabilities").stdout


@scenario("a done row whose test was skipped in the last run is found")
def _(work):
    tree = copy_tree(work)
    path = tree / "docs" / "capabilities.md"
    name = "tools/check accepts the tree as it is"
    lines = path.read_text().splitlines(keepends=True)
    row = next(i for i, line in enumerate(lines) if line.startswith("| S1-01"))
    lines[row] = f"| S1-01 | planted | done | `{name}` |\n"
    path.write_text("".join(lines))
    assert check(tree, "capabilities").returncode == 0
    append(tree, "build/test-results/unit.json",
           '{"results": [{"name": "%s", "status": "skipped"}]}' % name)
    finds(tree, "capabilities", "was skipped")


@scenario("a documented flag that a tool does not have is found")
def _(work):
    tree = copy_tree(work)
    append(tree, "docs/planted.md", "```sh\n$ tools/setup --for run --with-planted-flag\n```\n[gone](nowhere.md)\n")
    finds(tree, "documents", "--with-planted-flag")
    finds(tree, "documents", "nowhere.md")


@scenario("a documented flag that a built program does not have is found, and with --results a program that is not built is, too")
def _(work):
    tree = copy_tree(work)
    append(tree, "docs/planted.md", "`skep run --planted` and `skep run --sandboxes 2`\n")
    assert check(tree, "documents").returncode == 0, "nothing is built there, so nothing can be compared"
    done = run(["tools/check", "--only", "documents", "--results"], cwd=tree)
    assert done.returncode == 1 and "skep is not built" in done.stdout and "skepd is not built" in done.stdout, done.stdout
    (tree / "build" / "dev").mkdir(parents=True)
    (tree / "build" / "dev" / "bin").symlink_to(program("skep").parent)
    finds(tree, "documents", "docs/planted.md:1: skep run has no --planted")
    done = run(["tools/check", "--only", "documents", "--results"], cwd=tree)
    assert "is not built" not in done.stdout and done.stdout.count("planted.md:") == 1, done.stdout


@scenario("a sleep in a control path or a test is found")
def _(work):
    tree = copy_tree(work)
    append(tree, "storage/planted.cpp", "void f() {\n  std::this_thread::sleep_for(1s);\n}\n")
    append(tree, "tests/planted.py", "import time\ntime.sl" "eep(1)\n")
    append(tree, "messages/planted.hpp", "// sleep_for(1s) in a comment is no sleep\n")
    finds(tree, "waiting", "storage/planted.cpp:2")
    finds(tree, "waiting", "tests/planted.py:2")
    assert "messages/planted.hpp" not in check(tree, "waiting").stdout


@scenario("a wait for nothing and a timer of JavaScript are sleeps as well, and a reason that is given is taken")
def _(work):
    tree = copy_tree(work)
    append(tree, "guest/planted.cpp", "void f() {\n  ::poll(nullptr, 0, 500);\n  ::select(0, nullptr, nullptr, nullptr, &t);\n"
           "  // sleep: nothing tells of it\n  ::poll(nullptr, 0, 500);\n  ::poll(items, 2, 500);\n}\n")
    append(tree, "tests/planted.py", "import select\nselect.sel" "ect([], [], [], 1)\nselect.select([source], [], [], 1)\n")
    append(tree, "tests/conformance/js/planted.mjs", "await new Promise((next) => setTimeout(next, 20))\nawait box.setTimeout(20)\n"
           "await box.run('sleep 2')\nsetTimeout(stop, 20) // sleep: a deadline of all\n")
    for planted in ("guest/planted.cpp:2", "guest/planted.cpp:3", "tests/planted.py:2", "tests/conformance/js/planted.mjs:1"):
        finds(tree, "waiting", planted)
    assert check(tree, "waiting").stdout.count("planted.") == 4, check(tree, "waiting").stdout


@scenario("a suppression without its reason is found")
def _(work):
    tree = copy_tree(work)
    append(tree, "storage/planted.cpp", "int a; // NOLINT\nint b; // NOLINT(x): the parser wants it so\n")
    append(tree, "tests/support/sanitizers/planted.supp", "\nleak:planted\n")
    finds(tree, "suppressions", "storage/planted.cpp:1")
    finds(tree, "suppressions", "planted.supp:2")
    assert "planted.cpp:2" not in check(tree, "suppressions").stdout


@scenario("an error that docs/errors.md does not have is found")
def _(work):
    tree = copy_tree(work)
    append(tree, "messages/errors.def", 'SKEP_ERROR(999, planted, internal, 70, "planted", "planted")\n')
    finds(tree, "errors", "docs/errors.md")


@scenario("a package that is installed but not recorded, and one in another version than recorded, are found")
def _(work):
    tree = copy_tree(work)
    assert check(tree, "dependencies").returncode == 0, check(tree, "dependencies").stdout
    page, setup = tree / "docs" / "dependencies.md", tree / "tools" / "setup"
    page.write_text(page.read_text().replace("| `bubblewrap` | 0.8.0 |", "| `bubblewrap` | 0.7 |").replace("2.1.197", "2.1.1"))
    setup.write_text(setup.read_text().replace("run_packages=(git ", "run_packages=(git planted-package "))
    finds(tree, "dependencies", "planted-package")
    finds(tree, "dependencies", "claude-code: tools/setup pins")
    lock = tree / "tests" / "conformance" / "js" / "package-lock.json"
    lock.write_text(lock.read_text().replace('"e2b": "2.51.0"', '"e2b": "^2.50.0"').replace('"version": "2.17.0"', '"resolved": "x", "version": "2.17.0"'))
    finds(tree, "dependencies", "js/package-lock.json pins ^2.50.0")
    finds(tree, "dependencies", "is no exact version")
    finds(tree, "dependencies", "names the registry")
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    if release.get("VERSION_ID", "").strip('"') == "12":
        finds(tree, "dependencies", "recorded is 0.7")


@scenario("an overlong file and a path of one machine are found")
def _(work):
    tree = copy_tree(work)
    append(tree, "storage/planted.sql", "-- a line\n" * 601)
    append(tree, "docs/planted.md", f"see {tree}/docs\n")
    finds(tree, "files", "storage/planted.sql")
    finds(tree, "files", "docs/planted.md:1")


main()

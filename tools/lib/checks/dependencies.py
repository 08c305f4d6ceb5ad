"""docs/dependencies.md, tools/setup and this machine agree: what is installed, and in which version."""
import json
import re
import subprocess
from pathlib import Path

from .tree import Problem

NAME = "what is installed is recorded, and in the recorded version"

PATH, SETUP = "docs/dependencies.md", "tools/setup"
CLAUDE = "@anthropic-ai/claude-code"
CLAUDE_TEST = "tests/scenarios/claude_cli.py"
ROW = re.compile(r"^\| ((?:`[^`]+`(?:, )?)+) \| ([^|]+?) \|")
ARRAY = re.compile(r"^readonly (\w+)=\((.*?)\)$", re.MULTILINE | re.DOTALL)


def recorded(tree):
    """{package: (version or "any", line)} of the tables; one version stands for all packages of its row."""
    found = {}
    for number, line in tree.lines(PATH):
        match = ROW.match(line)
        if not match:
            continue
        packages = re.findall(r"`([^`]+)`", match.group(1))
        versions = [v.strip() for v in match.group(2).split(",")]
        if len(versions) == 1:
            versions *= len(packages)
        for package, version in zip(packages, versions + [""] * len(packages)):
            found[package] = (version, number)
    return found


def installed_by_setup(tree):
    """Every package that tools/setup may install, and the version of the pinned agent."""
    text = tree.text(SETUP)
    names = set()
    for array, body in ARRAY.findall(text):
        body = re.sub(r"#.*", "", body)
        if array == "test_programs":
            names |= {pair.split()[1] for pair in re.findall(r'"([^"]+)"', body)}
        elif array.endswith("_packages"):
            names |= set(body.split())
    pinned = re.search(r"^readonly claude_version=(\S+)$", text, re.MULTILINE)
    return names, pinned.group(1) if pinned else ""


def pinned_apart(tree):
    """[(file, package, version)] of what tests/conformance pins: npm lock files, and the SDK of Python."""
    out = []
    for name in tree.files:
        if not name.startswith("tests/conformance/"):
            continue
        if name.endswith("/package-lock.json"):
            wanted = json.loads(tree.text(name))["packages"][""]["dependencies"]
            out += [(name, package, version) for package, version in wanted.items()]
        elif name.endswith("/requirements.txt"):
            found = re.search(r"^e2b==(\S+)", tree.text(name), re.MULTILINE)
            out.append((name, "e2b", found.group(1) if found else ""))
    return out


def conformance(tree):
    """Each pin is exact and stands in the page beside its file; lock files name no registry."""
    problems = []
    for name, package, version in pinned_apart(tree):
        if not re.match(r"^\d[\w.]*$", version):
            problems.append(Problem(name, 0, f"{package}: '{version}' is no exact version"))
        rows = [(number, line) for number, line in tree.lines(PATH) if f"`{name}`" in line]
        if not rows:
            problems.append(Problem(PATH, 0, f"does not list {package} of {name}"))
        for number, line in rows:
            if f"| {version} |" not in line:
                problems.append(Problem(PATH, number, f"{package}: {name} pins {version}"))
        if '"resolved"' in tree.text(name):
            problems.append(Problem(name, 0, "names the registry that it was made with: leave out `resolved`"))
    return problems


def upstream(version):
    """4:12.2.0-3 is 12.2.0; 4.8+really4.7.5-1 is 4.7.5."""
    version = re.sub(r"^\d+:", "", version).rsplit("-", 1)[0]
    return re.sub(r"^.*\+really", "", version)


def fits(version, wanted):
    """True when the version is the recorded one or a later patch of it: 3.0 takes 3.0.15."""
    return version == wanted or re.match(re.escape(wanted) + r"(?!\d)", version) is not None


def release():
    """The Debian release of this machine, or None: versions are compared with those of Debian 12 alone."""
    try:
        text = Path("/etc/os-release").read_text()
    except OSError:
        return None
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return fields.get("VERSION_ID", "").strip('"') if fields.get("ID") == "debian" else None


def versions_here(packages):
    """{package: version} of those that are installed."""
    try:
        out = subprocess.run(["dpkg-query", "-W", "-f=${db:Status-Status} ${Package} ${Version}\\n", *sorted(packages)],
                             capture_output=True, text=True).stdout
    except OSError:
        return {}
    lines = (line.split() for line in out.splitlines())
    return {words[1]: words[2] for words in lines if len(words) == 3 and words[0] == "installed"}


def run(tree):
    problems = []
    table, (names, pinned) = recorded(tree), installed_by_setup(tree)
    for name in sorted(names - table.keys()):
        problems.append(Problem(SETUP, 0, f"installs {name}, which {PATH} does not list"))
    for name, (version, line) in table.items():
        if not name.startswith("@") and name not in names:
            problems.append(Problem(PATH, line, f"lists {name}, which {SETUP} does not install"))
        if not re.match(r"^\d[\w.~+]*$|^any$", version):
            problems.append(Problem(PATH, line, f"{name}: '{version}' is neither a version nor `any`"))
    if table.get(CLAUDE, ("", 0))[0] != pinned:
        problems.append(Problem(PATH, table.get(CLAUDE, ("", 0))[1], f"{CLAUDE}: {SETUP} pins {pinned}"))
    if f'PINNED = "{pinned}"' not in tree.text(CLAUDE_TEST):
        problems.append(Problem(CLAUDE_TEST, 0, f"{SETUP} pins {pinned}"))
    problems += conformance(tree)
    if release() == "12":
        for name, version in versions_here(names & table.keys()).items():
            wanted, line = table[name]
            if wanted != "any" and not fits(upstream(version), wanted):
                problems.append(Problem(PATH, line, f"{name} is {upstream(version)} here, recorded is {wanted}"))
    return problems

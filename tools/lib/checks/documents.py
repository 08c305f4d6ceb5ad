"""What the documents show exists: commands and flags of our programs, files, and links between pages."""
import os
import re
import subprocess
from pathlib import Path

from .tree import Problem

NAME = "documented commands, flags and files exist"

PROGRAMS = ("skep", "skepd", "skep-host", "skep-envd", "skep-guest")
TOOL = re.compile(r"^(?:\./)?tools/(\w+)$")
FLAG = re.compile(r"^--?[A-Za-z][\w-]*")
# Commands that our own programs give each other; no help lists them.
INTERNAL = {("skep-host", "hold")}
PRESETS = ("release", "dev", "asan")
HELP_LIMIT_S = 5


def shown_commands(tree, path):
    """(line, words) of every command line of ours: in fenced blocks and in inline code."""
    fenced = False
    for number, line in tree.lines(path):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        candidates = [re.sub(r"^\s*(?:\$|#)\s+", "", line).strip()] if fenced else re.findall(r"`([^`]+)`", line)
        for text in candidates:
            # A comment, a drawing or a second column ends the command.
            text = re.split(r"\s#|\s{3,}|[^\x00-\x7f]", text, maxsplit=1)[0]
            for part in re.split(r"\s*(?:\||&&|;|<|>)\s*", text):
                words = part.split()
                while words and re.match(r"^[A-Z_]+=", words[0]):
                    words = words[1:]
                if words and (words[0] in PROGRAMS or TOOL.match(words[0])):
                    yield number, words


class Helps:
    """The --help texts of the newest build, asked once each."""

    def __init__(self, root):
        self.root = root
        self.cache = {}
        self.missing = set()  # programs that were asked for and are not built

    def program(self, name):
        found = [p for p in (self.root / "build" / preset / "bin" / name for preset in PRESETS) if p.exists()]
        if not found:
            self.missing.add(name)
        return max(found, key=lambda p: p.stat().st_mtime, default=None)

    def text(self, argv):
        """What `argv --help` prints, or None where it does not end with 0."""
        key = tuple(argv)
        if key not in self.cache:
            try:
                done = subprocess.run([*argv, "--help"], capture_output=True, text=True, timeout=HELP_LIMIT_S,
                                      stdin=subprocess.DEVNULL, cwd=self.root)
                self.cache[key] = done.stdout if done.returncode == 0 else None
            except (OSError, subprocess.TimeoutExpired):
                self.cache[key] = None
        return self.cache[key]


def flags_of(words):
    """The flags of a command line, up to a bare `--`; [--flag] and --flag=VALUE count as --flag."""
    for word in words:
        if word == "--":
            return
        for part in re.split(r"[|/]", word.strip("[]()")):
            match = FLAG.match(part.strip("[]()"))
            if match and part.startswith("-"):
                yield match.group(0)


def check_command(helps, words):
    """What is wrong with one command line, as texts."""
    tool = TOOL.match(words[0])
    if tool:
        script = helps.root / "tools" / tool.group(1)
        if not script.exists():
            return [f"there is no tools/{tool.group(1)}"]
        if tool.group(1) in ("run", "fresh"):  # what follows belongs to another program
            return []
        source = script.read_text()
        for started in re.findall(r"^exec \S+ (tools/lib/\S+)", source, re.MULTILINE):
            source += (helps.root / started).read_text()
        return [f"tools/{tool.group(1)} has no {flag}" for flag in flags_of(words[1:])
                if flag not in source and flag not in ("-h", "--help")]
    program = helps.program(words[0])
    if program is None:
        return []
    argv, text, rest = [str(program)], helps.text([str(program)]), words[1:]
    if text is None:
        return []
    # Subcommands are words of the help's own list; the first other word ends the descent.
    while rest and re.match(r"^[a-z][a-z-]*$", rest[0]):
        if not re.search(rf"^\s+{re.escape(rest[0])}\b", text, re.MULTILINE):
            if len(argv) == 1 and (words[0], rest[0]) not in INTERNAL:
                return [f"{words[0]} has no command '{rest[0]}'"]
            break
        deeper = helps.text([*argv, rest[0]])
        if deeper is None:
            break
        argv, text, rest = [*argv, rest[0]], deeper, rest[1:]
    where = " ".join([words[0], *argv[1:]])
    return [f"{where} has no {flag}" for flag in flags_of(rest)
            if flag not in ("-h", "--help", "--version") and not re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", text)]


def check_links(tree, path):
    """Links to files of the tree lead somewhere."""
    for number, line in tree.lines(path):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", line):
            if "://" in target or target.startswith("mailto:"):
                continue
            if not (tree.root / os.path.normpath(Path(path).parent / target)).exists():
                yield Problem(path, number, f"this link leads nowhere: {target}")


def run(tree, with_results=False):
    """`with_results`: the programs have been built, so that one that is missing is a problem."""
    helps, problems = Helps(tree.root), []
    for path in tree.files:
        if not path.endswith(".md"):
            continue
        problems += check_links(tree, path)
        if path.startswith(("docs/decisions/", "CHANGELOG")):  # they speak of the past
            continue
        for number, words in shown_commands(tree, path):
            problems += [Problem(path, number, text) for text in check_command(helps, words)]
    if with_results:
        problems += [Problem("docs", 0, f"{name} is not built: what the documents show of it was compared with nothing")
                     for name in sorted(helps.missing)]
    return problems

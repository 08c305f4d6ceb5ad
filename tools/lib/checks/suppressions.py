"""Whoever silences a tool says why: on the line itself or directly above it."""
import re

from .tree import Problem

NAME = "suppressions are explained"

# Marker, and what an explanation on the same line looks like.
MARKERS = [
    (re.compile(r"\bNOLINT(?:NEXTLINE|BEGIN|END)?\b(?:\([^)]*\))?"), re.compile(r"NOLINT\w*(?:\([^)]*\))?\s*[:-]?\s*\w+ \w+")),
    (re.compile(r"#\s*pragma\s+(?:GCC|clang)\s+diagnostic\s+(?:ignored|warning)"), re.compile(r"//\s*\w+ \w+")),
    (re.compile(r"no_sanitize"), re.compile(r"//\s*\w+ \w+")),
    (re.compile(r"#\s*noqa\b"), re.compile(r"noqa(?::\s*[A-Z0-9, ]+)?\s+\W*\w+ \w+")),
    (re.compile(r"#\s*(?:type:\s*ignore|pylint:\s*disable)"), re.compile(r"(?:ignore|disable)\S*\s+\W+\w+ \w+")),
    (re.compile(r"#\s*shellcheck\s+disable"), re.compile(r"disable=\S+\s+#?\s*\w+ \w+")),
    (re.compile(r"clang-format off"), re.compile(r"clang-format off\s*[:-]\s*\w+ \w+")),
]
COMMENT_ABOVE = re.compile(r"^\s*(?://|#)\s*\w+ \w+")


def explained(line, above, reason):
    """A reason on the line, or a comment of words directly above that is no marker itself."""
    if reason.search(line):
        return True
    return bool(COMMENT_ABOVE.match(above)) and not any(marker.search(above) for marker, _ in MARKERS)


def run(tree):
    problems = []
    for path in tree.files:
        if path.startswith("tools/lib/checks/"):
            continue
        if path.endswith(".supp"):
            above = ""
            for number, line in tree.lines(path):
                if line.strip() and not line.startswith("#") and not above.startswith("#"):
                    problems.append(Problem(path, number, "a suppression without a comment directly above it"))
                above = line
            continue
        if not path.endswith((".cpp", ".hpp", ".h", ".c", ".py", ".sh", ".cmake")) and path not in tree.scripts():
            continue
        above = ""
        for number, line in tree.lines(path):
            for marker, reason in MARKERS:
                if marker.search(line) and "NOLINTEND" not in line and not explained(line, above, reason):
                    problems.append(Problem(path, number, f"not explained: {marker.search(line).group(0)}"))
            above = line
    return problems

#!/usr/bin/python3
"""Writes docs/errors.md from messages/errors.def, the one list of error codes.

    tools/lib/gen_errors.py            write it
    tools/lib/gen_errors.py --check    only compare; 1 and a reason on stderr where they differ

It also checks the list: numbers in the hundreds of their family, none twice, names and texts not empty.
"""
import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "messages" / "errors.def"
TARGET = ROOT / "docs" / "errors.md"
ENTRY = re.compile(r'^SKEP_ERROR\((\d+), (\w+), (\w+), (\d+), ("(?:[^"\\]|\\.)*"), ("(?:[^"\\]|\\.)*")\)$')
FAMILY = re.compile(r"^// -- (\w+) \((\d+)\): (.+)$")
HEAD = """# Errors

<!-- Made by tools/lib/gen_errors.py from messages/errors.def; `tools/check` compares the two. Do not edit. -->

Every error has a number, a name, a family and a hint. The family says whose move it is; the exit code is what `skep` ends with. Numbers
are never reused. With `--json` an error is one object with these fields, and the message adds what went wrong this time.
"""


def read():
    """(families, entries, problems); a family is (name, base, whose move)."""
    families, entries, problems = [], [], []
    for number, line in enumerate(SOURCE.read_text().splitlines(), 1):
        where = f"messages/errors.def:{number}"
        family = FAMILY.match(line)
        if family:
            families.append((family.group(1), int(family.group(2)), family.group(3)))
            continue
        if not line.startswith("SKEP_ERROR"):
            continue
        match = ENTRY.match(line)
        if not match:
            problems.append(f"{where}: not SKEP_ERROR(number, name, family, exit code, \"text\", \"hint\")")
            continue
        code, name, family_name, exit_code = int(match[1]), match[2], match[3], int(match[4])
        text, hint = ast.literal_eval(match[5]), ast.literal_eval(match[6])
        base = families[-1] if families else ("", -1, "")
        if family_name != base[0] or not base[1] <= code < base[1] + 100:
            problems.append(f"{where}: {name} stands outside its family's hundred")
        if any(code == e[0] or name == e[1] for e in entries):
            problems.append(f"{where}: {code} {name} stands here twice")
        if not text or not hint or not 0 < exit_code < 126:
            problems.append(f"{where}: {name} needs a text, a hint and an exit code from 1 to 125")
        entries.append((code, name, family_name, exit_code, text, hint))
    if not entries:
        problems.append("messages/errors.def: no entry")
    return families, entries, problems


def cell(text):
    return text.replace("|", "\\|")


def render(families, entries):
    parts = [HEAD]
    for name, base, move in families:
        parts.append(f"\n## {name} ({base} to {base + 99}): {move}\n\n| number | name | exit code | text | hint |\n"
                     "|---:|---|---:|---|---|\n")
        parts += [f"| {code} | `{entry}` | {exit_code} | {cell(text)} | {cell(hint)} |\n"
                  for code, entry, family, exit_code, text, hint in entries if family == name]
    return "".join(parts)


def main():
    families, entries, problems = read()
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    text = render(families, entries)
    if "--check" in sys.argv[1:]:
        if not TARGET.exists() or TARGET.read_text() != text:
            print("differs from messages/errors.def: run tools/lib/gen_errors.py", file=sys.stderr)
            return 1
        return 0
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""Writes docs/limits.md: every limit with its default and unit, from the policy structs of the headers themselves.

    tools/lib/gen_limits.py            write it
    tools/lib/gen_limits.py --check    only compare; 1 and a reason on stderr where they differ

A member is read as TYPE NAME{DEFAULT}; or TYPE NAME = DEFAULT; with the comment before or behind it as its meaning. One without a comment, or
with a default that cannot be read, is a problem: a limit that nobody can look up is none.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "limits.md"
# (header, struct or None for its constants that begin with max_, heading)
SOURCES = [
    ("messages/commands.hpp", None, "What a request may ask for"),
    ("actors/policy.hpp", "policies", "Deadlines and limits of a run"),
    ("actors/policy.hpp", "create_policy", "Making a sandbox, for each provider"),
    ("actors/policy.hpp", "note_policy", "Blocks of an agent's output in the journal, for each pane"),
    ("actors/limiter.hpp", "limiter_options", "Starts of agents"),
    ("actors/restart_policy.hpp", "restart_policy", "Restarts of actors"),
    ("actors/health.hpp", "health_policy", "When health is called degraded or unhealthy"),
    ("actors/chunk_builder.hpp", "chunk_limits", "Events on their way to the disk"),
    ("storage/disk_guard.hpp", "disk_limits", "A disk that fills up"),
    ("broker/control.hpp", "control_limits", "The control socket"),
    ("tools/skep/daemon_link.hpp", "start_policy", "Waiting for skepd to start"),
    ("tools/skepd/local_host.hpp", "local_host_policy", "Waiting for the local skep-host"),
    ("host/server.hpp", "server_policy", "skep-host's server"),
    ("host/registry.hpp", "holder_policy", "skep-host and its holders"),
    ("host/gateway/gateway.hpp", "gateway_policy", "The gateway of a local sandbox"),
    ("transfer/unpack.hpp", "unpack_limits", "What may be unpacked on this machine"),
    ("guest/diff.hpp", "diff_limits", "What a pane brings back"),
]
# Members of a group whose comment is about its first one.
MEANINGS = {
    "max_request_bytes": "One request to the control socket.",
    "max_prompt_bytes": "One prompt.",
    "max_panes_per_sandbox": "Panes of one sandbox.",
    "max_sandboxes_per_swarm": "Sandboxes of one run.",
    "max_allow_hosts": "Hosts of one run's allow-list.",
    "max_time_warnings": "Soft limits of one run's time.",
    "guest_command": "One short call of skep-guest inside.",
    "log_cap_bytes": "What is kept of one log of a pane, newest bytes; the same inside its sandbox, there at least 64 MiB.",
    "kill_attempts": "Kills that a sandbox's actor sends; then the REAPER goes on.",
    "unpack": "Unpacking inside, with base and work tree.",
    "collect": "Making the difference inside.",
    "reap_interval": "How often the REAPER looks.",
    "poll_failures": "Failures of the output stream in a row until it is given up.",
    "download_deadline": "As upload_deadline, of a download.",
    "setup_log_bytes": "What is kept of the setup's output.",
    "health_deadline": "How long one question to envd may take.",
    "step_wait": "Between two attempts of one remote step, doubled each time.",
    "attach_input_bytes": "Input that waits for the viewer.",
    "budget_kill": "Before a budget ends, its sandboxes are killed.",
    "events": "Events of a chunk until it is closed.",
    "size_bytes": "Bytes of a chunk until it is closed.",
    "linger": "How long a chunk waits for company.",
    "max_files": "Entries of an archive.",
    "low_water_bytes": "Free space below which new runs and notes are refused.",
    "in_flight_per_client": "Requests of one client that wait for their answers.",
    "header_limit_bytes": "Of a request's header.",
    "sweep_attempts": "Tries of removing what a dead sandbox left.",
}
UNITS = {"seconds": "s", "milliseconds": "ms", "minutes": "min", "hours": "h"}
MEMBER = re.compile(r"^  (?!static )((?:std::)?[\w:<>, ]+?) (\w+)(?:\{([^}]*)\}| = ([^;]+));\s*(?:///< (.*))?$")
CONSTANT = re.compile(r"^inline constexpr (\S+) (max_\w+|pane_\w+) = ([^;,]+);")
HEAD = """# Every limit

<!-- Made by tools/lib/gen_limits.py from the policy structs; `tools/check` compares the two. Do not edit. -->

Defaults and units as the programs have them. Which of them a setting changes stands in [configuration.md](configuration.md); the deadline of each operation at a provider is the
table at its end. What happens when a limit is reached: [operations.md](operations.md).
"""


def number(text):
    """The value of a default such as `100ull * 1024 * 1024` or `4u << 20`; None when it is none."""
    plain = re.sub(r"(?<=[0-9])(?:ull|ul|u|l)\b", "", text.replace("'", "")).strip()
    if not re.fullmatch(r"[0-9. *+<()-]+", plain):
        return None
    return eval(plain, {"__builtins__": {}})  # noqa: S307 digits and four operators, checked above


def shown(value, unit):
    """A figure for people."""
    if unit == "bytes":
        for size, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
            if value and value % size == 0:
                return f"{value // size:,} {name}"
    return f"{value:,} {unit}".strip()


def unit_of(kind, name):
    found = re.fullmatch(r"(?:std::)?(?:chrono::)(\w+)", kind)
    if found:
        return UNITS.get(found.group(1), "ms")
    for ending, unit in (("_bytes", "bytes"), ("_percent", "%"), ("_ms", "ms"), ("_usd", "USD"), ("_columns", "columns")):
        if name.endswith(ending):
            return unit
    return ""


def body_of(text, struct):
    at = re.search(rf"^struct {struct} (?::[^{{]*)?{{$", text, re.M)
    return text[at.end():text.index("\n};", at.end())] if at else None


def members(text, where, problems):
    """(name, default as text, meaning) of the members of a struct's body."""
    out, comment, group = [], [], ""
    lines = re.sub(r"\n\s+(?=///<)", " ", text).split("\n")
    for index, line in enumerate(lines):
        stripped = line.strip()
        if stripped.startswith("///") and not stripped.startswith("///<"):
            comment.append(stripped[3:].strip())
            continue
        found = MEMBER.match(line)
        if found and "(" not in found.group(1):
            kind, name, braced, assigned, behind = found.groups()
            timed = re.fullmatch(r"(?:std::)?chrono::(\w+)\{([^}]*)\}", assigned or "")
            unit = UNITS[timed.group(1)] if timed else unit_of(kind, name)
            value = number(timed.group(2) if timed else braced if braced is not None else assigned)
            more = index + 1
            while behind and more < len(lines) and re.match(r"\s+///< ", lines[more]):
                behind += " " + lines[more].split("///<")[1].strip()
                more += 1
            group = " ".join(comment) or group
            meaning = behind or MEANINGS.get(name) or group
            if value is not None:
                if not meaning:
                    problems.append(f"{where}: {name} has no comment")
                out.append((name, shown(value, unit), meaning))
        if stripped == "":
            group = ""
        if stripped == "" or found or stripped.endswith((";", "}")):
            comment = []
    return out


def constants(text):
    out, comment = [], []
    for line in text.split("\n"):
        if line.startswith("///"):
            comment.append(line[3:].strip())
            continue
        found = CONSTANT.match(line)
        if found:
            value = number(found.group(3))
            if value is not None:
                out.append((found.group(2), shown(value, unit_of(found.group(1), found.group(2))), " ".join(comment)))
        comment = []
    return out


def cell(text):
    return text.replace("|", "\\|").strip()


def render(problems):
    parts = [HEAD]
    for header, struct, heading in SOURCES:
        text = (ROOT / header).read_text()
        body = text if struct is None else body_of(text, struct)
        if body is None:
            problems.append(f"{header}: no struct {struct}")
            continue
        rows = constants(body) if struct is None else members(body, f"{header} {struct}", problems)
        if not rows:
            problems.append(f"{header}: no limit was read from {struct or 'its constants'}")
        parts.append(f"\n## {heading}\n\n`{header}`{f', `{struct}`' if struct else ''}\n\n| name | default | meaning |\n|---|---:|---|\n")
        parts += [f"| `{name}` | {value} | {cell(meaning)} |\n" for name, value, meaning in rows]
    return "".join(parts)


def main():
    problems = []
    text = render(problems)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        return 1
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text)
        return 0
    if not TARGET.exists() or TARGET.read_text() != text:
        print("docs/limits.md is not what tools/lib/gen_limits.py makes of the headers; run it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

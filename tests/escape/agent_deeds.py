"""What an agent of a run tries against whoever takes its results, shows its output or reads its records."""
import os
import pty
import select
import shutil
import subprocess

from installation import Installation, repository
from scenario import program

# Settings by which git runs a command: name -> what is set, and what sets it off on the host.
TRAPS = {
    "fsmonitor": ("core.fsmonitor", ["status"]),
    "an external diff": ("diff.external", ["diff"]),
    "a text conversion": ("diff.trap.textconv", ["diff", "--no-ext-diff"]),
    "a filter": ("filter.trap.clean", ["add", "-A"]),
    "an editor": ("core.editor", ["commit", "--allow-empty"]),
    "a transport": ("core.sshCommand", ["fetch", "ssh://nobody.invalid/x"]),
    "a pager": ("core.pager", ["log"]),
    "a hook": (None, ["commit", "--allow-empty", "-m", "x"]),
}
AGENT = """#!/bin/sh
set -e
marks=$1
trap_of() { printf 'touch "%s/%s";cat 2> /dev/null' "$marks" "$1"; }
SETTINGS
hooks=$(git rev-parse --git-common-dir)/hooks
mkdir -p "$hooks"
printf '#!/bin/sh\\ntouch "%s/a hook"\\n' "$marks" > "$hooks/post-commit"
chmod 755 "$hooks/post-commit"
echo changed >> README
echo '* filter=trap diff=trap' > .gitattributes
"""
ESCAPES = {
    "the clipboard": b"\x1b]52;c;c2tlcA==\x07", "the title": b"\x1b]0;escaped\x07", "an answer of the terminal": b"\x1b[6n\x1b[c",
    "a string for the terminal": b"\x1bP+q544e\x1b\\", "another screen": b"\x1b[?1049h\x1b[?1000h",
}
# What the follower would say of an agent that ended well, and records in the place of the holder's own.
FORGER = """#!/usr/bin/python3
import glob, os, struct, sys, zlib
[directory] = glob.glob("/home/user/.skep/panes/*/1/")
name = directory.split("/")[-3].encode()
body = bytes([0x92, 2, 0x86, 1, 0xa0 | len(name)]) + name + bytes([2, 1, 3, 0, 4, 0, 5, 0, 6, 0])
frame = struct.pack(">II", len(body), zlib.crc32(body)) + body
with open("frames", "wb") as out:
    out.write(frame * 100)
sys.stdout.buffer.write(frame * 100)
sys.stdout.flush()
for file in ("exit.json", "pid", "claim"):
    with open(directory + file + ".new", "wb") as out:
        out.write(b"[" * 5_000_000)
    os.rename(directory + file + ".new", directory + file)
sys.exit(3)
"""
FILTERER = """#!/bin/sh
set -e
echo '* filter=e' > "$(git rev-parse --git-common-dir)/info/attributes"
git config filter.e.clean 'sed s/EVIL/0/'
echo 'int main(){return EVIL;}' > main.c
"""
USURPER = """#!/bin/sh
echo '18446744073709551615 forged' > /home/user/.skep/panes/epoch
exec sleep 1000
"""


def git_tricks(host):
    """(name, inside, control) of every trap: first a run whose results are taken, then git on the host by hand."""
    marks = host.work / "marks"
    marks.mkdir()
    marks.chmod(0o777)
    settings = "\n".join(f'git config {key} "$(trap_of \'{name}\')"' for name, (key, _) in TRAPS.items() if key)
    repo = repository(host.work / "trapped", {"README": "a tree\n", "agent": AGENT.replace("SETTINGS", settings)})
    with Installation(host.work, name="git-state") as skep:
        lines = skep.json_lines("run", "--keep", "--repo", repo, "--", "./agent", str(marks))
        pane = lines[-1]["summary"]["panes"][0]
        assert pane["result"] == "completed" and list((repo / "skep-out").rglob("p0.patch")), pane
        inside = set(os.listdir(marks))
        box = skep.sandboxes_at_host()[0]
        copy = host.work / "taken"
        shutil.copytree(skep.host_dir() / "sandboxes" / box / "home" / "repo", copy, symlinks=True)
    subprocess.run(["chown", "-R", f"--reference={host.folder}", copy], check=True)
    # What was written there inside switches filters off; an agent could have removed it, too.
    (copy / ".git" / "info" / "attributes").unlink(missing_ok=True)
    for name, text in (("README", "changed by hand\n"), (".gitattributes", "* filter=trap diff=trap\n")):
        host.put(copy / name, text)
    for name, (_, words) in TRAPS.items():
        leader, terminal = pty.openpty()
        git = ["/usr/bin/git", "-c", "user.name=x", "-c", "user.email=x@example.invalid",
               *(["-c", "core.fsmonitor=false"] if name != "fsmonitor" else []), *words]
        subprocess.run(git, cwd=copy, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal, preexec_fn=host.service.become,
                       env={"PATH": "/usr/bin:/bin", "TERM": "xterm", "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"}, timeout=30)
        os.close(terminal)
        os.close(leader)
        found = (marks / name).exists()
        yield f"git's settings in its repository, {name}", name in inside and "it ran on the host", found and "by hand it runs"


def shown(skep, *words):
    """What a command writes to a terminal."""
    leader, terminal = pty.openpty()
    process = subprocess.Popen([program("skep"), *words], env={**skep.environment, "TERM": "xterm"}, stdin=terminal, stdout=terminal,
                               stderr=terminal)
    os.close(terminal)
    data = b""
    while select.select([leader], [], [], 30)[0]:
        try:
            block = os.read(leader, 65536)
        except OSError:
            break
        if not block:
            break
        data += block
    process.wait(30)
    os.close(leader)
    return data


def terminal_tricks(host):
    """(name, inside, control): what an agent is born with, and what `skep logs` writes to a terminal, without and with
    --raw."""
    repo = repository(host.work / "loud", {"README": "a tree\n", "agent": "#!/bin/sh\nls /proc/self/fd > descriptors\nexec cat said\n"})
    (repo / "said").write_bytes(b"begin " + b" then ".join(ESCAPES.values()) + b" end\n")
    with Installation(host.work, name="loud-state") as skep:
        swarm = skep.start(repo, "--", "./agent")
        skep.closed(swarm)
        clean, raw = shown(skep, "logs", f"{swarm}/p0", "--from", "0"), shown(skep, "logs", f"{swarm}/p0", "--from", "0", "--raw")
    [born_with] = (repo / "skep-out").rglob("descriptors")
    kept = os.open(host.folder, os.O_RDONLY)
    by_hand = subprocess.run(["ls", "/proc/self/fd"], pass_fds=[kept], capture_output=True, text=True, check=True).stdout
    os.close(kept)
    ordinary = {"0", "1", "2", "3"}  # the last is the folder that is being listed
    yield "a descriptor that an agent was born with", set(born_with.read_text().split()) - ordinary, set(by_hand.split()) - ordinary
    assert b"begin" in clean and b"end" in clean, clean
    for name, escape in ESCAPES.items():
        parts = [b"\x1b" + p for p in escape.split(b"\x1b")[1:] if len(p) > 1]
        yield f"escapes of a terminal, {name}", any(p in clean for p in parts) and "skep logs shows it", \
            all(p in raw for p in parts) and "skep logs --raw shows it"


def forged_records(host):
    """Frames in what an agent says, and records that it replaces: bytes of its log, and no end but its own."""
    repo = repository(host.work / "forged", {"README": "a tree\n", "agent": FORGER})
    with Installation(host.work, name="forged-state") as skep:
        swarm = skep.start(repo, "--", "./agent")
        daemon = skep.daemon_pid()
        pane = skep.closed(swarm)["panes"][0]
        assert (pane["result"], pane["exit_code"]) == ("failed", 3), pane
        log = skep.log_of(pane).read_bytes()
        [frames] = (repo / "skep-out").rglob("frames")
        assert len(log) > 2000 and log == frames.read_bytes(), f"{len(log)} bytes of a log: {log[:100]}"
        assert skep.daemon_pid() == daemon, "the daemon did not outlive it"


def filtered_patch(host):
    """Git inside is told to show harmless code in the place of what is there: the patch has what the files have."""
    repo = repository(host.work / "filtered", {"main.c": "int main(){return  1;}\n", "agent": FILTERER})
    with Installation(host.work, name="filtered-state") as skep:
        pane = skep.closed(skep.start(repo, "--", "./agent"))["panes"][0]
        assert pane["result"] == "completed", pane
    [patch], [file] = (repo / "skep-out").rglob("p0.patch"), (repo / "skep-out").rglob("p0/files/main.c")
    assert "EVIL" in file.read_text() and "+int main(){return EVIL;}" in patch.read_text(), patch.read_text()


def forged_epoch(host):
    """An agent that shuts the follower out ends its own sandbox, by name, and nothing else."""
    repo = repository(host.work / "usurped", {"README": "a tree\n", "agent": USURPER})
    with Installation(host.work, name="usurped-state") as skep:
        swarm = skep.start(repo, "--", "./agent")
        daemon = skep.daemon_pid()
        done = skep.closed(swarm)["swarm"]
        assert (done["result"], done["error_code"]) == ("failed", "remote_command_failed") and "epoch" in done["error_text"], done
        assert skep.daemon_pid() == daemon, "the daemon did not outlive it"
        assert skep.json_lines("run", "--repo", repo, "--", "true")[-1]["summary"]["panes"][0]["result"] == "completed"

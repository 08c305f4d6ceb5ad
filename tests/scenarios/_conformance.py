"""What conformance_js.py and conformance_python.py share: a host of their own, and the official SDK's cases against it.

An SDK that is not installed is a failure, not a skip: what the SDK would find stays unknown.
"""
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from scenario import SOURCE, program  # noqa: E402 behind the path they need

AREAS = ["sandboxes", "commands", "files", "watch", "terminals", "secured", "lifecycle", "errors"]
KEY = "e2b_" + "0" * 40
AREA_LIMIT_S = 240


class Host:
    """A skep-host with a key file on a free port; at its end every sandbox is killed and its files are gone."""

    def __init__(self):
        self.work = Path(tempfile.mkdtemp(prefix="skep-conformance-"))
        self.work.chmod(0o755)
        keys = self.work / "keys"
        keys.write_text(KEY + "\n")
        self.state = self.work / "state"
        self.process = subprocess.Popen([program("skep-host"), "--listen", "127.0.0.1:0", "--state", self.state, "--key-file", keys],
                                        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        assert select.select([self.process.stdout], [], [], 60)[0], "skep-host does not start"
        self.url = json.loads(self.process.stdout.readline())["url"]

    def environment(self):
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, "E2B_API_URL": self.url, "E2B_SANDBOX_URL": self.url, "E2B_API_KEY": KEY, "PYTHONDONTWRITEBYTECODE": "1"}

    def left(self):
        return sorted(p.name for p in (self.state / "holders").iterdir())

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        self.process.stdout.close()
        shutil.rmtree(self.work, ignore_errors=True)


def run_areas(sdk, argv_of, folder):
    """Runs every area and prints its results under the name of the SDK."""
    words = sys.argv[1:]
    failed = False
    host = Host()
    try:
        for area in AREAS:
            if words and area not in words:
                continue
            try:
                done = subprocess.run(argv_of(area), cwd=folder, env=host.environment(), stdin=subprocess.DEVNULL,
                                      capture_output=True, text=True, timeout=AREA_LIMIT_S)
                output, code = done.stdout, done.returncode
                errors = done.stderr
            except subprocess.TimeoutExpired as late:
                output, code, errors = (late.stdout or b"").decode(errors="replace"), None, f"not over within {AREA_LIMIT_S} s"
            results = 0
            for line in output.splitlines():
                for start in ("ok - ", "not ok - "):
                    if line.startswith(start):
                        results += 1
                        print(f"{start}{sdk}, {area}, {line[len(start):]}", flush=True)
            if code != 0:
                failed = True
            if code != 0 and (results == 0 or "\nnot ok - " not in "\n" + output):
                last = (errors.strip().splitlines() or ["no word"])[-1]
                print(f"not ok - {sdk}, {area}, the script runs to its end: {last[:300]}", flush=True)
        left = host.left()
        print(f"ok - {sdk}, no sandbox is left behind" if not left else f"not ok - {sdk}, no sandbox is left behind: {left}", flush=True)
        failed = failed or bool(left)
    finally:
        host.close()
    sys.exit(1 if failed else 0)


def not_installed(sdk, why):
    print(f"not ok - {sdk}, the SDK is installed: {why} (tools/setup --for test)", flush=True)
    sys.exit(1)


__all__ = ["SOURCE", "run_areas", "not_installed"]

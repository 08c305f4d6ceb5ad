"""What the conformance_*.py scripts share: hosts of their own, and the official SDK's cases against them.

An SDK that is not installed is a failure, not a skip: what the SDK would find stays unknown.
"""
import collections
import http.server
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from host_server import KEY, kill_sandboxes  # noqa: E402 behind the path they need
from scenario import SOURCE, program  # noqa: E402 behind the path they need

SCRIPTS = ["pause", "figures", "errors", "sandboxes", "commands", "limits", "files", "watch", "terminals", "secured", "catalog"]  # long ones first
# Every group has at least LEAST_IN_GROUP cases, and each SDK at least LEAST_CASES in all.
GROUPS = ["create", "list", "connect", "kill", "commands", "background", "input", "files", "watch", "pty", "metrics", "pause and resume",
          "signed URLs", "secured sandboxes", "templates", "error: sandbox not found", "error: file not found", "error: process not found",
          "error: authentication", "error: invalid argument", "error: timeout", "error: command exit", "error: rate limit",
          "error: refused by the control API", "error: build and template", "error: told by the proxy"]
LEAST_IN_GROUP = 4
LEAST_CASES = 60
LIMITED_KEYS = ["e2b_" + str(i) * 40 for i in range(1, 6)]
SCRIPT_LIMIT_S = 240
AT_ONCE = 4


class Host:
    """A skep-host with a key file on a free port; at its end every sandbox is killed and its files are gone."""

    def __init__(self, keys, *words):
        self.key = keys[0]
        self.work = Path(tempfile.mkdtemp(prefix="skep-conformance-"))
        self.work.chmod(0o755)
        file = self.work / "keys"
        file.write_text("\n".join(keys) + "\n")
        self.state = self.work / "state"
        self.process = subprocess.Popen([program("skep-host"), *words, "--listen", "127.0.0.1:0", "--state", self.state, "--key-file", file],
                                        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        assert select.select([self.process.stdout], [], [], 60)[0], "skep-host does not start"
        self.url = json.loads(self.process.stdout.readline())["url"]

    def environment(self):
        """Of a client of this host; nothing of the caller's own E2B settings."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, "E2B_API_URL": self.url, "E2B_SANDBOX_URL": self.url, "E2B_API_KEY": KEY, "PYTHONDONTWRITEBYTECODE": "1"}

    def left(self):
        return sorted(p.name for p in (self.state / "holders").iterdir())

    def close(self):
        kill_sandboxes(self.url, self.key, self.state)
        self.process.terminate()
        self.process.wait(20)
        self.process.stdout.close()
        shutil.rmtree(self.work, ignore_errors=True)


def run_script(argv, folder, environment):
    """The output of one script, its exit code (None: not over in time) and the last word of its errors."""
    try:
        done = subprocess.run(argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SCRIPT_LIMIT_S)
        return done.stdout, done.returncode, (done.stderr.strip().splitlines() or ["no word"])[-1]
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"").decode(errors="replace"), None, f"not over within {SCRIPT_LIMIT_S} s"


def result_lines(sdk, script, output):
    """The results of a script under the SDK's name, each with its group ("" for one that failed)."""
    for line in output.splitlines():
        if line.startswith("ok - "):
            name, _, group = line[len("ok - "):].partition(" # ")
            yield f"ok - {sdk}, {script}, {name}", group
        elif line.startswith("not ok - "):
            yield f"not ok - {sdk}, {script}, {line[len('not ok - '):]}", ""


def run_scripts(sdk, argv_of, folder, good=True):
    """Runs every script, some at once, prints its results under the name of the SDK, and judges how many there are of each group; then ends,
    with 1 when anything failed or what came before was not `good`."""
    wanted = [x for x in SCRIPTS if not sys.argv[1:] or x in sys.argv[1:]]
    counts = collections.Counter()
    failed = not good

    def told(line):
        nonlocal failed
        failed = failed or line.startswith("not ok")
        print(line, flush=True)

    host = Host([KEY])
    limited = Host(LIMITED_KEYS, "--max-sandboxes", "1", "--create-rate", "3/3600")
    environment = {**host.environment(), "LIMITED_URL": limited.url, "LIMITED_KEYS": ",".join(LIMITED_KEYS)}
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for script, (output, code, last) in zip(wanted, pool.map(lambda x: run_script(argv_of(x), folder, environment), wanted)):
                lines = list(result_lines(sdk, script, output))
                for line, group in lines:
                    told(line)
                    counts[group] += group != ""
                if code != 0 and not any(line.startswith("not ok") for line, _ in lines):
                    told(f"not ok - {sdk}, {script}, the script runs to its end: {last[:300]}")
        left = host.left() + limited.left()
        told(f"not ok - {sdk}, no sandbox is left behind: {left}" if left else f"ok - {sdk}, no sandbox is left behind")
        if wanted == SCRIPTS:
            judge_counts(sdk, counts, told)
    finally:
        host.close()
        limited.close()
    sys.exit(1 if failed else 0)


def judge_counts(sdk, counts, told):
    for group, count in sorted(counts.items()):
        print(f"# {sdk}, {group}: {count} cases", flush=True)
    few = [f"{group} has {counts[group]}" for group in GROUPS if counts[group] < LEAST_IN_GROUP]
    name = f"{sdk}, every group has at least {LEAST_IN_GROUP} cases, and all together at least {LEAST_CASES}"
    if counts.total() < LEAST_CASES:
        few.append(f"{counts.total()} in all")
    told(f"not ok - {name}: {', '.join(few)}" if few else f"ok - {name}")


def installed_version(package):
    """The version of an npm package's folder, or None."""
    try:
        return json.loads((package / "package.json").read_text())["version"]
    except OSError:
        return None


def npm_packages(title, folder, name):
    """The node_modules of tests/conformance/FOLDER; ends the script when they hold another version of `name` than the lock file."""
    modules = SOURCE / "build/conformance" / folder / "node_modules"
    lock = json.loads((SOURCE / "tests/conformance" / folder / "package-lock.json").read_text())
    wanted, found = lock["packages"][f"node_modules/{name}"]["version"], installed_version(modules / name)
    if found != wanted:
        not_installed(title, f"version {found or 'none'} is installed and {wanted} is wanted")
    return modules


class Witness(http.server.BaseHTTPRequestHandler):
    """Refuses everything and remembers what was asked."""

    def do_POST(self):
        self.server.seen.append(f"{self.command} {self.path}")
        self.send_response(401)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass


def judge_generation(title, work, path):
    """An SDK that creates at another path would not judge the generation of paths that it is here for."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Witness) as server:
        server.seen = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {"PATH": os.environ["PATH"], "E2B_API_URL": f"http://127.0.0.1:{server.server_port}", "E2B_API_KEY": KEY}
        run_script(["node", "generation.mjs"], work, environment)
        server.shutdown()
    name = f"{title}, a create goes to {path}"
    print(f"ok - {name}" if server.seen == [f"POST {path}"] else f"not ok - {name}: {server.seen}", flush=True)
    return server.seen == [f"POST {path}"]


def run_js(title, folder, create_path):
    """The cases of tests/conformance/js with the SDK that tests/conformance/FOLDER pins, which creates sandboxes at `create_path`."""
    modules = npm_packages(title, folder, "e2b")
    # Node looks for packages beside the script: the scripts go where the packages are.
    with tempfile.TemporaryDirectory(prefix="skep-conformance-") as work:
        for script in (SOURCE / "tests/conformance/js").glob("*.mjs"):
            shutil.copy(script, work)
        (Path(work) / "node_modules").symlink_to(modules)
        as_meant = judge_generation(title, work, create_path)
        run_scripts(title, lambda script: ["node", f"{script}.mjs"], work, as_meant)


def not_installed(sdk, why):
    print(f"not ok - {sdk}, it is installed: {why} (tools/setup --for test)", flush=True)
    sys.exit(1)


__all__ = ["Host", "KEY", "SOURCE", "installed_version", "not_installed", "npm_packages", "run_js", "run_scripts"]

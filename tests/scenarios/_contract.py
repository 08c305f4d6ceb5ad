"""What the contract_*.py scripts share: a server of ours, and the cases of tests/contract/ against it.

With SKEP_E2B_API_KEY in the environment, contract_cloud() aims the same cases at E2B itself."""
import os
import select
import shutil
import subprocess
import sys
import tempfile
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "support"), str(ROOT / "contract")]
from scenario import PATIENCE, program  # noqa: E402 behind the path they need
import suite  # noqa: E402 behind the path it needs
import wire  # noqa: E402 behind the path it needs

for _area in ("control", "listing", "life", "process", "stream", "filesystem", "files", "access", "account"):
    __import__(f"{_area}_cases")  # they register their cases

KEY = "e2b_" + "0" * 40
LEAST_CASES = 120
wire.DEADLINE_S *= PATIENCE


class Server:
    """skep-host with a key on a free port, started by `front` where one is given; at its end every sandbox is killed
    and its files are gone."""

    def __init__(self, *words, front=()):
        self.work = Path(tempfile.mkdtemp(prefix="skep-contract-"))
        self.work.chmod(0o755)
        (self.work / "keys").write_text(KEY + "\n")
        self.process = subprocess.Popen(
            [*front, program("skep-host"), *words, "--listen", "127.0.0.1:0", "--state", self.work / "state", "--key-file",
             self.work / "keys"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        assert select.select([self.process.stdout], [], [], 30 * PATIENCE)[0], "skep-host does not start"
        self.url = json.loads(self.process.stdout.readline())["url"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30 * PATIENCE)
        self.process.stdout.close()
        shutil.rmtree(self.work, ignore_errors=True)


def judge(title, target, also=()):
    """Runs the cases and prints each as a result under the title; `also` are (name, check) of the whole run."""
    failed = False

    def told(name, why):
        nonlocal failed
        failed = failed or bool(why)
        print(f"not ok - {title}, {name}: {why}" if why else f"ok - {title}, {name}", flush=True)

    for case, why in suite.run(target, sys.argv[1:]):
        told(case.name, why)
    if not sys.argv[1:]:
        left = target.api("GET", "/v2/sandboxes").json()
        told("nothing is left of it", f"{len(left)} sandboxes" if left else "")
        many = len([c for c in suite.cases if not c.real])
        told(f"it holds at least {LEAST_CASES} cases that need no kernel", "" if many >= LEAST_CASES else f"only {many}")
    for name, check in also:
        told(name, check())
    sys.exit(1 if failed else 0)


__all__ = ["KEY", "Server", "judge", "os", "wire"]

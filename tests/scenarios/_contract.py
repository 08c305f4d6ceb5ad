"""What the contract_*.py scripts share: a server of ours, and the cases of tests/contract/ against it.

With SKEP_E2B_API_KEY in the environment, contract_cloud() aims the same cases at E2B itself."""
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "support"), str(ROOT / "contract")]
from host_server import KEY, Server  # noqa: E402 behind the path they need
from scenario import PATIENCE  # noqa: E402 behind the path it needs
import suite  # noqa: E402 behind the path it needs
import wire  # noqa: E402 behind the path it needs

for _area in ("control", "listing", "life", "process", "stream", "filesystem", "files", "access", "account"):
    __import__(f"{_area}_cases")  # they register their cases

LEAST_CASES = 120
wire.DEADLINE_S *= PATIENCE


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
        many = len(suite.counting())
        told(f"it holds at least {LEAST_CASES} cases that need no kernel", "" if many >= LEAST_CASES else f"only {many}")
    for name, check in also:
        told(name, check())
    sys.exit(1 if failed else 0)


__all__ = ["KEY", "Server", "judge", "os", "wire"]

"""Runs the cases of one script against the host that E2B_API_URL names and prints a line for each: `ok - NAME # GROUP` or
`not ok - NAME: why`. Every wait of a case has its deadline here."""
import os
import sys
import time
import traceback

import httpx
from e2b import Sandbox

_cases = []
_made = []
_group = ""


def group(name):
    """The cases that follow belong to this group; each group has at least four."""
    global _group
    _group = name


def test(name):
    def add(body):
        _cases.append((name, _group, body))
        return body
    return add


def create(*args, **kwargs):
    """A sandbox of this script alone, killed at its end."""
    sandbox = Sandbox.create(*args, **kwargs)
    _made.append(sandbox.sandbox_id)
    return sandbox


def failure(call, *kinds):
    """The error of a call that must fail, of one of `kinds`."""
    try:
        call()
    except (kinds or Exception) as error:
        return error
    raise AssertionError("the call succeeded and should have failed")


def until(done, what):
    """Asks again until `done` gives something true, at most 15 s."""
    end = time.monotonic() + 15
    while time.monotonic() < end:
        result = done()
        if result:
            return result
        time.sleep(0.02)  # sleep: between two looks at evidence that has no descriptor to wait on
    raise AssertionError(f"not within 15 s: {what}")


def api(method, path, **options):
    headers = {"X-API-KEY": os.environ["E2B_API_KEY"], **options.pop("headers", {})}
    return httpx.request(method, os.environ["E2B_API_URL"] + path, headers=headers, timeout=30, **options)


def at(sandbox, method, path, port=49983, **options):
    """A request to the sandbox by its routing headers, without a token."""
    headers = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": str(port), **options.pop("headers", {})}
    url = path if path.startswith("http") else os.environ["E2B_SANDBOX_URL"] + path
    return httpx.request(method, url, headers=headers, timeout=30, **options)


def run():
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    failed = 0
    for name, of, body in _cases:
        if only not in name:
            continue
        try:
            body()
            print(f"ok - {name} # {of}", flush=True)
        except Exception as error:
            failed += 1
            place = traceback.extract_tb(error.__traceback__)
            mine = [f for f in place if "/conformance/" in f.filename or f.filename.endswith(os.path.basename(sys.argv[0]))]
            where = f"line {mine[-1].lineno}" if mine else "?"
            print(f"not ok - {name}: {where}: {type(error).__name__}: {str(error)[:400]!r}", flush=True)
    for sandbox_id in _made:
        try:
            Sandbox.kill(sandbox_id)
        except Exception as error:
            print(f"# sandbox {sandbox_id} was not killed: {error}")
    sys.exit(1 if failed else 0)

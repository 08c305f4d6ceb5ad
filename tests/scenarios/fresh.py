#!/usr/bin/python3
"""The README's first command on a fresh Debian 12, by tools/fresh; what runs in there is tests/fresh/twice."""
# presets: release
# timeout: 2400
import os
import subprocess

from scenario import SOURCE, Skip, main, scenario

LIMIT_S = 1200


def twice(*options):
    if os.geteuid() != 0:
        raise Skip("making a root file system needs root")
    # The output goes where the scenario's goes, so that a failure shows the newcomer's screen.
    done = subprocess.run([SOURCE / "tools" / "fresh", *options, "tests/fresh/twice"], stdin=subprocess.DEVNULL,
                          stderr=subprocess.STDOUT, timeout=LIMIT_S)
    assert done.returncode == 0, f"tools/fresh ended with {done.returncode}"


@scenario("on a fresh Debian ./tools/run works as root, and again without compiler or package manager")
def _(_work):
    twice()


@scenario("on a fresh Debian ./tools/run works as a user after tools/setup, and again without compiler or package manager")
def _(_work):
    twice("--user")


main()

#!/usr/bin/python3
"""The contract suite (tests/contract/) against the simulator: all but the cases that need a kernel."""
# timeout: 300
from _contract import KEY, Server, judge, wire

with Server("--driver", "sim", "--seed", "7") as server:
    judge("simulated sandboxes", wire.Target(server.url, KEY, real=False))

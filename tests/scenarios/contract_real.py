#!/usr/bin/python3
"""The contract suite (tests/contract/) against skep-host with real sandboxes; with SKEP_E2B_API_KEY against E2B."""
# timeout: 300
import os

from _contract import KEY, Server, judge, wire

if os.environ.get("SKEP_E2B_API_KEY"):
    domain = os.environ.get("SKEP_E2B_DOMAIN", "e2b.app")
    judge("E2B", wire.Target(f"https://api.{domain}", os.environ["SKEP_E2B_API_KEY"], domain=domain, ours=False))
with Server() as server:
    judge("real sandboxes", wire.Target(server.url, KEY))

#!/usr/bin/python3
"""The official JavaScript SDK of E2B, the newest, unmodified, against skep-host: tests/conformance/js."""
# timeout: 900
# presets: dev
from _conformance import run_js

run_js("e2b for JavaScript", "js", "/v2/sandboxes")

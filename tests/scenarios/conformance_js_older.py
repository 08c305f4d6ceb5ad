#!/usr/bin/python3
"""An older official JavaScript SDK of E2B, which uses the first generation of paths, against skep-host: the cases of tests/conformance/js."""
# timeout: 900
# presets: dev
from _conformance import run_js

run_js("e2b 2.45 for JavaScript", "js-2.45", "/sandboxes")

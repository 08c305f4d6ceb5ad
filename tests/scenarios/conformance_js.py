#!/usr/bin/python3
"""The official JavaScript SDK of E2B, unmodified, against skep-host: tests/conformance/js, an area a file."""
# timeout: 900
# presets: dev
import json
import shutil
import tempfile
from pathlib import Path

from _conformance import SOURCE, not_installed, run_areas

SDK = "e2b for JavaScript"
folder = SOURCE / "tests/conformance/js"
installed = SOURCE / "build/conformance/js/node_modules"
wanted = json.loads((folder / "package-lock.json").read_text())["packages"]["node_modules/e2b"]["version"]
try:
    found = json.loads((installed / "e2b/package.json").read_text())["version"]
except OSError:
    not_installed(SDK, f"there is no {installed.relative_to(SOURCE)}/e2b")
if found != wanted:
    not_installed(SDK, f"version {found} is installed and {wanted} is wanted")

# Node looks for packages beside the script: the scripts go where the packages are.
with tempfile.TemporaryDirectory(prefix="skep-conformance-") as work:
    for script in folder.glob("*.mjs"):
        shutil.copy(script, work)
    (Path(work) / "node_modules").symlink_to(installed)
    run_areas(SDK, lambda area: ["node", f"{area}.mjs"], work)

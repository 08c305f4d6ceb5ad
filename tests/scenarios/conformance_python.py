#!/usr/bin/python3
"""The official Python SDK of E2B, unmodified, against skep-host: tests/conformance/python."""
# timeout: 900
# presets: dev
import re
import subprocess

from _conformance import SOURCE, not_installed, run_scripts

SDK = "e2b for Python"
folder = SOURCE / "tests/conformance/python"
python = SOURCE / "build/conformance/python/bin/python"
wanted = re.search(r"^e2b==(\S+)", (folder / "requirements.txt").read_text(), re.M)[1]
if not python.exists():
    not_installed(SDK, f"there is no {python.relative_to(SOURCE)}")
shown = subprocess.run([python, "-c", "import importlib.metadata as m; print(m.version('e2b'))"], capture_output=True, text=True)
if shown.stdout.strip() != wanted:
    not_installed(SDK, f"version {shown.stdout.strip() or 'none'} is installed and {wanted} is wanted")
run_scripts(SDK, lambda script: [str(python), f"{script}.py"], folder)

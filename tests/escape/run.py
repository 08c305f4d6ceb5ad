"""Runs probes: run.py FACTS_FILE [NAME...]; what it prints is described in probing.main."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from probing import main  # noqa: E402 behind the path it needs

main()

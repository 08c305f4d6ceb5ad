"""Where the programs are that tools/setup put below build/, since this machine's are missing or too old."""
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def search_path():
    """PATH with our own programs before the machine's."""
    own = sorted(str(program.parent) for program in (ROOT / "build" / "node").glob("node_modules/node-linux-*/bin/node"))
    return os.pathsep.join([*own, os.environ.get("PATH", os.defpath)])

"""skep-host as a server of its own, for tests that speak to it as to any provider."""
import json
import select
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from scenario import PATIENCE, program

KEY = "e2b_" + "0" * 40


def kill_sandboxes(url, key, state):
    """Kills what lives at a skep-host: its sandboxes would outlive it."""
    for holder in sorted(state.glob("holders/*")):
        request = urllib.request.Request(f"{url}/sandboxes/{holder.name}", headers={"X-API-KEY": key}, method="DELETE")
        try:
            urllib.request.urlopen(request, timeout=60 * PATIENCE).close()
        except urllib.error.HTTPError as why:
            if why.code != 404:  # It ended by itself meanwhile.
                raise


class Server:
    """skep-host with a key on a free port, started by `front` where one is given; at its end every sandbox is killed
    and its files are gone."""

    def __init__(self, *words, front=()):
        self.work = Path(tempfile.mkdtemp(prefix="skep-contract-"))
        self.work.chmod(0o755)
        (self.work / "keys").write_text(KEY + "\n")
        self.process = subprocess.Popen(
            [*front, program("skep-host"), *words, "--listen", "127.0.0.1:0", "--state", self.work / "state", "--key-file",
             self.work / "keys"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        assert select.select([self.process.stdout], [], [], 30 * PATIENCE)[0], "skep-host does not start"
        self.url = json.loads(self.process.stdout.readline())["url"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        kill_sandboxes(self.url, KEY, self.work / "state")
        self.process.terminate()
        self.process.wait(30 * PATIENCE)
        self.process.stdout.close()
        shutil.rmtree(self.work, ignore_errors=True)

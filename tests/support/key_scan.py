"""A canary: a key that is looked for in every place of a run, in every form in which it could be there.

    scan = Scan(skep, repo, key)
    scan.nothing("after the run")
"""
import json
import os
import secrets
import sqlite3
from pathlib import Path

from processes import processes
from secret_forms import forms


def new_key():
    """A key whose forms all differ: characters that a URL and base64 write in other ways are in it."""
    return "sk-ant-canary/" + secrets.token_hex(16) + "+~=?" + secrets.token_hex(4) + "/end"


class Scan:
    """Looks for every form of a key in every place of a run. `without`: files and folders of the provider where it was
    given, too; `provider`: a folder of a provider beside the local host."""

    def __init__(self, skep, repo, key, provider=None, without=()):
        self.skep, self.repo, self.forms = skep, repo, forms(key)
        self.provider, self.without = provider, set(without)
        self.looked = 0

    def in_bytes(self, where, data):
        self.looked += len(data)
        return [f"{where} ({name})" for name, form in self.forms.items() if form in data]

    def in_files(self, top, without=()):
        found = []
        for folder, names, files in os.walk(top):
            names[:] = [n for n in names if Path(folder, n) not in without]
            files = [n for n in files if Path(folder, n) not in without]
            for name in names + files:
                found += self.in_bytes(f"name of {folder}/{name}", os.fsencode(name))
            for name in files:
                path = Path(folder, name)
                try:
                    if path.is_file() and not path.is_symlink():
                        found += self.in_bytes(str(path), path.read_bytes())
                except FileNotFoundError:
                    continue  # it went while we looked
        return found

    def in_processes(self):
        found = []
        for pid, cmdline in processes():
            found += self.in_bytes(f"cmdline of {pid}", cmdline)
            try:
                found += self.in_bytes(f"environment of {pid}", Path(f"/proc/{pid}/environ").read_bytes())
            except OSError:
                continue  # it ended, or is another user's
        return found

    def in_database(self):
        """Every value of every table: pages may break a value in two where the file is read as bytes."""
        found = []
        database = sqlite3.connect(f"file:{self.skep.state}/skep.db?mode=ro", uri=True)
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in database.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    data = value if isinstance(value, bytes) else str(value).encode()
                    found += self.in_bytes(f"table {table}", data)
        database.close()
        return found

    def in_dumps(self):
        """What would write the daemon's memory to a file: a limit of core files that is not 0."""
        pid = self.skep.daemon_pid()
        limits = Path(f"/proc/{pid}/limits").read_text() if pid else "Max core file size 0 0 bytes"
        line = next(x for x in limits.splitlines() if x.startswith("Max core file size"))
        return [] if line.split()[4:6] == ["0", "0"] else [line]

    def in_replies(self):
        before = len(self.skep.said)
        for words in (["ps", "--all"], ["events", "--from", "1"], ["daemon", "status"], ["secret", "list"]):
            self.skep.run("--json", *words, code=0)
        for swarm in json.loads(self.skep.said[before])["swarms"]:
            self.skep.run("--json", "status", swarm["swarm"], code=0)
            self.skep.run("logs", swarm["swarm"], code=0)
        return [hit for text in self.skep.said for hit in self.in_bytes("what was printed", text.encode())]

    def places(self):
        """{place: hits}; the file where the key was given is the one exception."""
        host = self.skep.host_dir()
        given = self.skep.state / "secrets"
        return {
            "state directory": self.in_files(self.skep.state, {given, host}),
            "skep-out": self.in_files(self.repo / "skep-out"),
            "sandboxes and host": self.in_files(host),
            "provider": self.in_files(self.provider, self.without) if self.provider else [],
            "processes": self.in_processes(),
            "dumps": self.in_dumps(),
            "journal": self.in_database(),
            "output and replies": self.in_replies(),
        }

    def nothing(self, when, least=1_000_000):
        """Fails where any form is anywhere, or where fewer than `least` bytes were looked at."""
        self.looked = 0
        for place, hits in self.places().items():
            assert not hits, f"{when}, in {place}: {hits[:5]}"
        assert self.looked > least, f"{when}: only {self.looked} bytes were looked at"

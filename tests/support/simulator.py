"""A simulator of sandboxes (skep-host --driver sim) for scenarios, and the configuration that makes it a provider.

    with Simulator(work, seed=7, scenario={"faults": {...}}) as sim:
        config = sim.config()            # for skep.toml; the key is the secret SIM_KEY
        sim.record("kill")               # the simulator's own record: what really happened
"""
import json
import select
import subprocess
import urllib.request

from scenario import program

KEY = "e2b_" + "0" * 40


class Simulator:
    def __init__(self, work, seed=7, scenario=None, name="sim", key=KEY):
        self.folder = work / name
        self.folder.mkdir()
        (self.folder / "key").write_text(key + "\n")
        (self.folder / "key").chmod(0o600)
        (self.folder / "scenario.json").write_text(json.dumps(scenario or {}))
        self.seed, self.key = seed, key
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(
            [str(program("skep-host")), "--driver", "sim", "--seed", str(self.seed), "--listen", "127.0.0.1:0",
             "--state", str(self.folder / "state"), "--key-file", str(self.folder / "key"),
             "--faults", str(self.folder / "scenario.json")],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert select.select([self.process.stdout], [], [], 30)[0], "the simulator does not serve"
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.said = json.loads(line)
        self.url = self.said["url"]
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise

    def config(self):
        """Of skep.toml: the provider `sim`."""
        return f'[providers.sim]\napi_url = "{self.url}"\nsandbox_url = "{self.url}"\nkey = "SIM_KEY"\nkind = "sim"\n'

    def record(self, event=None):
        """The lines of the record, of one event or all."""
        with open(self.said["record"], encoding="utf-8") as file:
            lines = [json.loads(line) for line in file if line.endswith("\n")]  # not one being written
        return [line for line in lines if event in (None, line["event"])]

    def alive(self):
        """Ids of the sandboxes that live, by the record."""
        ended = {line["sandbox"] for line in self.record("kill")}
        return [line["sandbox"] for line in self.record("create") if line["sandbox"] not in ended]

    def ask(self, method, path, body=None):
        """One request to the control API: the JSON of its answer, None for an empty one."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, method=method, data=data,
                                         headers={"X-API-KEY": self.key, "Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

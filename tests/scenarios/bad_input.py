#!/usr/bin/python3
"""What a run cannot work with is refused with its code, exit code and a hint, and nothing is made."""
# timeout: 240
import http.server
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import schemas  # noqa: E402 behind the path they need
from installation import Installation, git, repository  # noqa: E402 behind the path they need
from scenario import SOURCE, Skip, main, program, run, scenario, with_mounts  # noqa: E402 behind the path they need

KEY = "sk-ant-api03-not-a-real-key"


def refused(skep, words, code, exit_code, mentions=""):
    """The error of `skep WORDS --json`, which has the code, the exit code and a hint."""
    document = schemas.check(skep.json(*words, code=exit_code), "error")["error"]
    assert document["code"] == code, document
    assert document["exit_code"] == exit_code and document["hint"], document
    assert mentions in document["message"] + document["cause"], f"{mentions!r} is not in {document}"
    # The same for a reader: one line, the hint at its end.
    words = list(words)
    plain = skep.run(*words)
    assert plain.returncode == exit_code and code in plain.stderr and "Hint: " in plain.stderr, plain.stderr
    return document


def nothing_made(skep, repo):
    assert skep.sandboxes_at_host() == [] and skep.holders() == {}
    if skep.daemon_pid():
        rows = skep.json("ps", "--all")
        assert rows == {"swarms": [], "sandboxes": [], "panes": []}, rows
        kinds = {e["type"] for e in skep.events()}
        # Who asked is on record, whatever became of it.
        assert kinds <= {"daemon.started", "command.asked"}, kinds
    if repo:
        assert not (repo / "skep-out").exists()


# -- what the command line gives

def plain_folder(work):
    (work / "repo").mkdir()
    return work / "repo"


def unborn(work):
    folder = plain_folder(work)
    git(folder, "init", "-q")
    (folder / "file").write_text("not committed\n")
    return folder


def empty(work):
    folder = plain_folder(work)
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "nothing")
    return folder


def only_excluded(work):
    return repository(work / "repo", {".env": "KEY=x\n"})


def bare(work):
    folder = plain_folder(work)
    git(folder, "init", "-q", "--bare")
    return folder


def good(work):
    return repository(work / "repo")


def prompt_file(data):
    def make(work):
        (work / "prompt").write_bytes(data)
        return ["--agent", "claude", "--prompt-file", str(work / "prompt")]
    return make


def words(*fixed):
    return lambda work: list(fixed)


CLAUDE = ("--agent", "claude")
COMMAND_LINE = [
    # what is wrong, repository, words of `skep run`, code, exit code, what the message names
    ("a folder that is no git repository", plain_folder, words("--", "true"), "not_a_repository", 64, "repo"),
    ("a bare repository", bare, words("--", "true"), "not_a_repository", 64, "repo"),
    ("a repository without a commit", unborn, words("--", "true"), "no_commit", 64, "repo"),
    ("a repository without a file", empty, words("--", "true"), "empty_repository", 64, "repo"),
    ("a repository of nothing but excluded files", only_excluded, words("--", "true"), "empty_repository", 64, "repo"),
    ("neither an agent nor a command", good, words(), "bad_argument", 64, "--agent"),
    ("a prompt and a prompt file", good, lambda w: prompt_file(b"x")(w) + ["--prompt", "x"],
     "prompt_and_prompt_file", 64, ""),
    ("claude without a prompt", good, words(*CLAUDE), "prompt_missing", 64, ""),
    ("a prompt file of 100,001 bytes", good, prompt_file(b"x" * 100_001), "prompt_too_long", 64, ""),
    ("a prompt file of 20 MB", good, prompt_file(b"x" * 20_000_000), "prompt_too_long", 64, ""),
    ("a prompt of 100,001 bytes", good, words(*CLAUDE, "--prompt", "x" * 100_001), "prompt_too_long", 64, ""),
    ("a prompt with a NUL", good, prompt_file(b"one\0two"), "prompt_has_nul", 64, ""),
    ("a prompt with an escape sequence", good, prompt_file(b"\x1b[2J"), "prompt_has_nul", 64, ""),
    ("a prompt with an escape sequence of 8 bits", good, prompt_file(b"{index}\xc2\x9b2J"), "prompt_has_nul", 64, "U+009B at offset 7"),
    ("a prompt that is not UTF-8", good, prompt_file("déjà vu".encode("latin-1")), "bad_argument", 64, "not UTF-8: byte 233 at offset 1"),
    ("a template that is no file", good, words(*CLAUDE, "--prompt", "x", "--prompt-template"), "bad_argument", 64, "--prompt-file"),
    ("a prompt file that does not exist", good, words(*CLAUDE, "--prompt-file", "/nonexistent/p"),
     "file_not_found", 66, "/nonexistent/p"),
    ("-1 panes", good, words("--panes", "-1", "--", "true"), "out_of_range", 64, "1 and 100"),
    ("0 panes", good, words("--panes", "0", "--", "true"), "out_of_range", 64, "1 and 100"),
    ("101 panes", good, words("--panes", "101", "--", "true"), "out_of_range", 64, "101"),
    ("2.5 panes", good, words("--panes", "2.5", "--", "true"), "bad_argument", 64, "2.5"),
    ("more panes than a number holds", good, words("--panes", "99999999999999999999", "--", "true"),
     "out_of_range", 64, "1 and 100"),
    ("-1 sandboxes", good, words("--sandboxes", "-1", "--", "true"), "out_of_range", 64, "1 and 1000"),
    ("0 sandboxes", good, words("--sandboxes", "0", "--", "true"), "out_of_range", 64, "1 and 1000"),
    ("1001 sandboxes", good, words("--sandboxes", "1001", "--", "true"), "out_of_range", 64, "1001"),
    ("panes that are no number", good, words("--panes", "many", "--", "true"), "bad_argument", 64, "many"),
    ("100 panes and 101 prompts", good, lambda w: ["--panes", "100"] + prompt_file(b"x")(w)[:2]
     + 101 * prompt_file(b"x")(w)[2:], "bad_argument", 64, "100"),
    ("an argument that is not UTF-8", good, words("--", "./agent", b"\xc3("), "bad_argument", 64, "argument 1"),
    ("a value that is not UTF-8", good, words("--env", b"ODD=\xed\xa0\x80", "--", "true"), "bad_argument", 64, "ODD"),
    ("a name that is not UTF-8", good, words("--name", b"\xff", "--", "true"), "bad_argument", 64, "name"),
    ("a variable without a name", good, words("--env", "=x", "--", "true"), "bad_argument", 64, "NAME=VALUE"),
    ("an unknown option", good, words("--no-such-option", "--", "true"), "bad_argument", 64, "--no-such-option"),
    ("an unknown agent", good, words("--agent", "cluade", "--prompt", "x"), "unknown_agent", 64, "cluade"),
    ("a command that this machine does not have", good, words("--", "no-such-program"),
     "agent_not_visible", 69, "no-such-program"),
    ("an unknown provider", good, words("--provider", "nowhere", "--", "true"), "unknown_provider", 64, "nowhere"),
    ("a template that local sandboxes do not have", good, words("--template", "bose", "--", "true"), "bad_argument", 64,
     "bose"),
    ("an unknown network policy", good, words("--network", "lan", "--", "true"), "bad_argument", 64, "lan"),
    ("an allow-list without a host", good, words("--network", "allowlist", "--", "true"), "bad_argument", 64, "hosts"),
    ("a host beside a policy that takes none", good, words("--network", "open", "--allow", "a.example.com", "--", "true"),
     "bad_argument", 64, "open"),
    ("an address as a host to allow", good, words("--allow", "10.0.0.1", "--", "true"), "bad_argument", 64, "10.0.0.1"),
    ("a URL as a host to allow", good, words("--allow", "https://example.com", "--", "true"), "bad_argument", 64,
     "https://example.com"),
    ("a host to allow with a port", good, words("--allow", "example.com:8443", "--", "true"), "bad_argument", 64, "8443"),
    ("a bare * as a host to allow", good, words("--allow", "*", "--", "true"), "bad_argument", 64, "host name"),
    ("a host to allow with an escape sequence", good, words("--allow", "a\x1b[2J.com", "--", "true"), "bad_argument", 64,
     "\"a\\x1b[2j.com\""),
    ("the second of two hosts to allow", good, words("--allow", "good.example.com", "--allow", "bad_host.example.com", "--",
     "true"), "bad_argument", 64, "\"bad_host.example.com\""),
    ("claude without a network", good, words(*CLAUDE, "--prompt", "x", "--network", "none"), "bad_argument", 64, "model"),
    ("a setup without a program", good, words("--setup", "", "--", "true"), "bad_argument", 64, "setup"),
    ("a setup that is not UTF-8", good, words("--setup", b"\xff", "--", "true"), "bad_argument", 64, "setup"),
    ("claude without a key", good, words(*CLAUDE, "--prompt", "x"), "secret_missing", 77, "ANTHROPIC_API_KEY"),
]


def add_command_line_case(what, make_repo, make_words, code, exit_code, mentions):
    @scenario(f"skep run refuses {what} as {code}")
    def _(work):
        repo, more = make_repo(work), make_words(work)
        with Installation(work) as skep:
            refused(skep, ["run", "--repo", repo, *more], code, exit_code, mentions)
            assert not skep.state.exists() or skep.daemon_pid() is None, "a daemon was started for nothing"
            skep.json("daemon", "start")
            refused(skep, ["run", "--repo", repo, *more], code, exit_code, mentions)
            nothing_made(skep, repo)


for case in COMMAND_LINE:
    add_command_line_case(*case)


@scenario("1 and 100 panes, 1 and 1000 sandboxes are within the limits, and 1 sandbox of 1 pane is the default")
def _(work):
    repo = good(work)
    with Installation(work) as skep:
        for counts in (("--panes", "1"), ("--panes", "100"), ("--sandboxes", "1000", "--panes", "100"), ("--sandboxes", "1")):
            # Numbers are looked at before the program: what is refused is the next mistake.
            refused(skep, ["run", "--repo", repo, *counts, "--", "no-such-program"], "agent_not_visible", 69)
        for counts in (("--panes", "-1"), ("--panes", "0"), ("--panes", "101"), ("--sandboxes", "1001")):
            refused(skep, ["run", "--repo", repo, *counts, "--", "no-such-program"], "out_of_range", 64)
        refused(skep, ["run", "--repo", repo, "--panes", "four", "--", "no-such-program"], "bad_argument", 64)
        nothing_made(skep, repo)
        swarm = skep.json_lines("run", "--repo", repo, "--", "true")[-1]["summary"]
        assert (len(swarm["sandboxes"]), len(swarm["panes"])) == (1, 1), swarm


@scenario("an agent that sandboxes would not see is refused with the path where this machine has it")
def _(work):
    tools = work / "tools"
    tools.mkdir()
    (tools / "claude").write_text("#!/bin/sh\n")
    (tools / "claude").chmod(0o755)
    repo = good(work)
    with Installation(work) as skep:
        skep.environment["PATH"] = f"{tools}:{skep.environment['PATH']}"
        skep.json("secret", "set", "ANTHROPIC_API_KEY", input=KEY)
        refused(skep, ["run", "--repo", repo, "--agent", "claude", "--prompt", "x"], "agent_not_visible", 69,
                str(tools / "claude"))
        nothing_made(skep, repo)


@scenario("a program that is named by its place is refused before anything is made, or runs from where sandboxes see it")
def _(work):
    script = "#!/bin/sh\necho done >result.txt\n"
    repo = repository(work / "repo", {"fix.sh": script, ".gitignore": "built\n"})
    tools = work / "tools"
    tools.mkdir()
    for program_file in (tools / "agent", repo / "built"):
        program_file.write_text(script)
        program_file.chmod(0o755)
    work.chmod(0o711)  # a service user passes through
    with Installation(work) as skep:
        for named, mentions in ((repo / "fix.sh", "name it ./fix.sh"), (repo / "built", "`skep files why built`"),
                                ("/no/such/agent", "/no/such/agent is not on this machine"),
                                ("/usr/bin/no-such-program", "is not on this machine"),
                                (tools / "agent", "in no folder that local sandboxes see")):
            for more in ((), ("--detach",), ("--dry-run",)):
                found = refused(skep, ["run", "--repo", repo, *more, "--", named], "agent_not_visible", 69, mentions)
                assert "./fix.sh" in found["hint"] and "[local] bind" in found["hint"], found
        nothing_made(skep, repo)
        assert skep.daemon_pid() is None, "a daemon was started for nothing"
    with Installation(work, "bound", config=f'[local]\nbind = ["{tools}"]\n') as skep:
        for named in ("./fix.sh", tools / "agent"):
            lines = skep.json_lines("run", "--repo", repo, "--", named)
            pane = lines[-1]["summary"]["panes"][0]
            assert (pane["result"], pane["exit_code"]) == ("completed", 0), pane
            files = repo / "skep-out" / lines[0]["run"]["swarm"] / "p0/files"
            assert (files / "result.txt").read_text() == "done\n", named


@scenario("a configuration with a mistake is refused with its file and line")
def _(work):
    repo = good(work)
    for text, line in (("[local]\nbnid = []\n", 2), ("[local]\nbind = 5\n", 2), ("not toml\n", 1),
                       ("[providers.x]\napi_url = \"ftp://x\"\nkey = \"K\"\n", 1),
                       ("[providers.x]\ndomain = \"x.y\"\nkey = \"K\"\ncreate_timeout_s = 0\n", 4),
                       ("[providers.x]\ndomain = \"x.y\"\nkey = \"K\"\nfirst_lease_s = 4\n", 4),
                       ("[providers.x]\ndomain = \"x.y\"\nkey = \"K\"\nmax_active = -1\n", 4),
                       ("[providers.x]\ndomain = \"x.y\"\nkey = \"K\"\ncreates_per_day = \"many\"\n", 4),
                       ("[providers.x]\ndomain = \"x.y\"\nkey = \"K\"\nusd_per_hour = -0.1\n", 4),
                       ("[providers.x]\ndomain = \"x.y\"\nkey = \"K\"\nkind = \"mine\"\n", 4),
                       ("[providers.x]\ndomain = \"x.y\"\nkey = \"K\"\nmax_starting = -1\n", 4),
                       ("[providers.x]\ndomain = \"x.y\"\nkey = \"K\"\nmax_starting = \"all\"\n", 4),
                       ("[providers.x]\ndomain = \"x.y\"\nkey = \"K\"\nnetwork_check = \"off\"\n", 4),
                       ("[providers.x]\ndomain = \"x.y\"\nkey = \"K\"\nfallback = \"y\"\n", 4),
                       ("[providers.x]\ndomain = \"x.y\"\nkey = \"K\"\nfallback = \"x\"\n", 4),
                       ("[providers.none]\ndomain = \"x.y\"\nkey = \"K\"\n", 1),
                       ("[local]\nmax_active = 1.5\n", 2), ("[local]\nmax_starting = 0.5\n", 2),
                       ("[budget]\nday_usd = \"20\"\n", 2),
                       ("[budget]\nwind_down_s = 19\n", 2)):
        skep = Installation(work, config=None)
        skep.config(text)
        with skep:
            refused(skep, ["run", "--repo", repo, "--", "true"], "bad_config", 78, f"skep.toml:{line}")
            nothing_made(skep, repo)


# -- what the machine lacks

@scenario("without bubblewrap nothing is made and the error is no_isolation")
def _(work):
    repo = good(work)
    with Installation(work) as skep:
        done = run([*with_mounts("mount --bind /dev/null /usr/bin/bwrap"), program("skep"), "run", "--json", "--repo", repo,
                    "--", "true"], env=skep.environment)
        documents = [json.loads(line) for line in done.stdout.splitlines()]
        assert "error" in documents[0], f"refused late, after {len(documents)} documents: {done.stdout[-1500:]}"
        found = schemas.check(documents[0], "error")["error"]
        assert (done.returncode, found["code"]) == (69, "no_isolation") and found["hint"], found
        assert "bubblewrap" in found["message"], found
        nothing_made(skep, repo)


@scenario("a full disk is refused as disk_full and leaves nothing behind")
def _(work):
    repo = good(work)
    with Installation(work) as skep:
        skep.state.mkdir(mode=0o700)
        # Room for a daemon, but less than is kept free for work that already runs.
        done = run([*with_mounts('mount -t tmpfs -o size=24m,mode=700 none "$SKEP_STATE"'), "sh", "-c",
                    '"$1" daemon start --json && { "$1" run --json --repo "$2" -- true; code=$?; "$1" ps --all --json; '
                    '"$1" daemon stop --force --json; exit $code; }', "sh", program("skep"), repo], env=skep.environment)
        documents = [json.loads(line) for line in done.stdout.splitlines()]
        found = schemas.check(documents[1], "error")["error"]
        assert (done.returncode, found["code"]) == (74, "disk_full") and found["hint"], found
        assert documents[2] == {"swarms": [], "sandboxes": [], "panes": []}, documents[2]
        assert not (repo / "skep-out").exists()


# -- the daemon and its files

@scenario("a second daemon for the same state is refused as daemon_running")
def _(work):
    with Installation(work) as skep:
        skep.json("daemon", "start")
        done = run(["skepd", "--state", skep.state], env=skep.environment)
        assert done.returncode == 65 and "daemon_running" in done.stderr and "Hint: " in done.stderr, done.stderr
        assert str(skep.daemon_pid()) in done.stderr, done.stderr
        assert skep.json("daemon", "status")["epoch"] == 1, "the second daemon took the state over"


@scenario("a damaged database is refused as corrupt_database and is left as it is")
def _(work):
    repo = good(work)
    for name, damage in (("overwritten", lambda data: b"this is no database" + data[19:]),
                         ("garbage", lambda data: os.urandom(len(data))),
                         ("torn", lambda data: data[:4096] + b"\xff" * (len(data) - 4096))):
        with Installation(work, name) as skep:
            skep.json("daemon", "start")
            skep.json("daemon", "stop")
            file = skep.state / "skep.db"
            for rest in ("skep.db-wal", "skep.db-shm"):
                (skep.state / rest).unlink(missing_ok=True)
            file.write_bytes(damage(file.read_bytes()))
            before = file.read_bytes()
            direct = run(["skepd", "--state", skep.state], env=skep.environment)
            assert direct.returncode == 74 and "corrupt_database" in direct.stderr, (name, direct.stderr)
            assert "Hint: " in direct.stderr, direct.stderr
            refused(skep, ["run", "--repo", repo, "--", "true"], "corrupt_database", 74)
            assert file.read_bytes() == before, f"{name}: the evidence was changed"
            nothing_made(skep, repo)


@scenario("a database of a later release is refused as schema_mismatch")
def _(work):
    with Installation(work) as skep:
        skep.json("daemon", "start")
        skep.json("daemon", "stop")
        database = sqlite3.connect(skep.state / "skep.db")
        tables = [r[0] for r in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert "schema_metadata" in tables, tables
        columns = [r[1] for r in database.execute("PRAGMA table_info(schema_metadata)")]
        row = database.execute("SELECT * FROM schema_metadata ORDER BY 1 DESC LIMIT 1").fetchone()
        later = [9999 if i == 0 else value for i, value in enumerate(row)]
        database.execute(f"INSERT INTO schema_metadata VALUES ({','.join('?' * len(columns))})", later)
        database.commit()
        database.close()
        direct = run(["skepd", "--state", skep.state], env=skep.environment)
        assert direct.returncode == 74 and "schema_mismatch" in direct.stderr, direct.stderr


class Raw:
    """A DEALER of stock ZeroMQ that says what it likes to a daemon's control socket."""

    def __init__(self, skep):
        try:
            import msgpack
            import zmq
        except ImportError as missing:
            raise Skip(f"{missing.name} for Python is not installed (tools/setup --for test)") from None
        self.msgpack = msgpack
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, 10_000)
        self.socket.connect(f"ipc://{skep.state}/run/control.sock")

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.socket.close()
        self.context.term()

    def ask(self, command, body, version=1, key=""):
        """The reply's failure: (code number, message), or (0, "")."""
        frame = {1: version, 2: 7, 3: key, 4: command, 5: self.msgpack.packb(body)}
        return self.ask_bytes(self.msgpack.packb(frame))

    def ask_bytes(self, data):
        self.socket.send(data)
        reply = self.msgpack.unpackb(self.socket.recv(), strict_map_key=False)
        failure = reply.get(3) or {}
        return failure.get(1, 0), failure.get(2, ""), reply.get(1)


@scenario("the daemon refuses what a peer of another version or without our checks sends")
def _(work):
    repo = good(work)
    with Installation(work) as skep:
        skep.json("daemon", "start")
        numbers = spec_numbers()
        spec = {numbers[name]: value for name, value in (
            ("repo", str(repo)), ("out_dir", str(repo / "skep-out")), ("provider", "local"), ("template", "base"),
            ("argv", ["true"]), ("sandboxes", 1), ("panes", 1))}
        with Raw(skep) as raw:
            code, text, version = raw.ask(1, {1: spec}, version=2)
            assert (code, version) == (102, 1), (code, text, version)
            cases = [
                ({"panes": 0}, 404), ({"panes": 101}, 404), ({"sandboxes": 0}, 404), ({"sandboxes": 1001}, 404),
                ({"provider": "nowhere"}, 112), ({"prompts": ["x" * 100_001]}, 106), ({"prompts": ["a\0b"]}, 107),
                ({"agent": 1, "argv": [], "prompts": []}, 105),
                ({"agent": 1, "argv": [], "prompts": ["x"]}, 703), ({"repo": "relative"}, 100),
            ]
            for change, expected in cases:
                body = {1: {**spec, **{numbers[name]: value for name, value in change.items()}}}
                code, text, _ = raw.ask(1, body, key="k" + str(expected))
                assert code == expected, f"{list(change)} gave {code} {text}, not {expected}"
            assert raw.ask(999, {})[0] == 114
            assert raw.ask(1, {1: 5})[0] == 101
            for garbage in (b"", b"\xc1", b"GET / HTTP/1.1\r\n\r\n", b"\x81\x01"):
                assert raw.ask_bytes(garbage)[0] == 101, garbage
        nothing_made(skep, repo)


def spec_numbers():
    """Field numbers of swarm_spec: docs/protocol.md points to this list."""
    text = (SOURCE / "messages/commands.hpp").read_text().split("struct swarm_spec {")[1].split("\n};")[0]
    return {name: int(number) for number, name in re.findall(r'field\((\d+),\s*"(\w+)"', text)}


# -- a provider that talks nonsense

class Nonsense(http.server.BaseHTTPRequestHandler):
    """Answers everything with the server's `answer`: (status, content type, body)."""
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        self.rfile.read(length)
        self.server.seen.append(f"{self.command} {self.path}")
        status, kind, body = self.server.answer
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *words):
        pass


def provider_config(port):
    return f'[providers.junk]\napi_url = "http://127.0.0.1:{port}"\nkey = "JUNK_KEY"\n'


def run_at_junk(work, name, port):
    """(exit code, documents, installation facts) of a run at the provider on this port."""
    repo = repository(work / f"repo-{name}")
    with Installation(work, f"state-{name}", config=provider_config(port)) as skep:
        skep.json("secret", "set", "JUNK_KEY", input="e2b_0123456789abcdef")
        done = skep.run("run", "--repo", repo, "--provider", "junk", "--json", "--", "true", limit_s=60)
        documents = [json.loads(line) for line in done.stdout.splitlines()]
        ended = documents[-1].get("summary")
        assert ended, documents[-1]
        box = ended["sandboxes"][0]
        assert box["state"] == "closed" and not box["remote_id"] and not box["kept"], box
        assert skep.json("ps") == {"swarms": [], "sandboxes": [], "panes": []}
        return done.returncode, ended


def add_garbage_case(what, answer, code, exit_code):
    @scenario(f"a provider that answers {what} ends the run failed with {code}")
    def _(work):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nonsense)
        server.answer, server.seen = answer, []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            ended_with, ended = run_at_junk(work, "one", server.server_port)
            assert ended["swarm"]["error_code"] == code and ended_with == exit_code, \
                (ended_with, ended["swarm"], ended["sandboxes"][0]["error_text"], server.seen[:20])
            if code in ("auth", "refused"):  # clear words are not asked for twice
                assert server.seen.count("POST /sandboxes") == 1, server.seen[:20]
        finally:
            server.shutdown()
            server.server_close()


for case in [
    ("a web page", (200, "text/html", b"<html><body>Welcome</body></html>"), "protocol", 76),
    ("JSON of another kind", (201, "application/json", b'{"sandboxID": 5, "x": [[[[]]]]}'), "protocol", 76),
    ("nothing with status 201", (201, "application/json", b""), "protocol", 76),
    ("401", (401, "application/json", b'{"code": 401, "message": "no"}'), "auth", 77),
    ("400", (400, "application/json", b'{"code": 400, "message": "no such template"}'), "refused", 76),
]:
    add_garbage_case(*case)


@scenario("a key that the provider does not know ends the run with auth, and nothing was made there")
def _(work):
    state = work / "host"
    work.chmod(0o711)  # a service user starts its sandboxes
    keys = work / "keys"
    keys.write_text("e2b_" + "a" * 40 + "\n")
    host = subprocess.Popen([program("skep-host"), "--listen", "127.0.0.1:0", "--state", state, "--key-file", keys],
                            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    try:
        url = json.loads(host.stdout.readline())["url"]
        ended_with, ended = run_at_junk(work, "unknown", int(url.rsplit(":", 1)[1]))
        swarm, box = ended["swarm"], ended["sandboxes"][0]
        assert (swarm["error_code"], ended_with) == ("auth", 77), ended
        assert "create" in box["error_text"] and "attempts" not in box["error_text"], box
        assert list((state / "holders").iterdir()) == []
    finally:
        host.terminate()
        host.wait(20)
        host.stdout.close()


main()

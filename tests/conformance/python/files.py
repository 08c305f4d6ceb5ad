"""Files and directories."""
import time

from e2b import FileNotFoundException, FileType, SandboxException

from harness import create, failure, group, run, test

sandbox = create()
HOME = "/home/user"


group("files")


@test("a file is written with its parents and read back")
def _():
    info = sandbox.files.write(f"{HOME}/a/b/c.txt", "hello")
    assert (info.path, info.name, info.type) == (f"{HOME}/a/b/c.txt", "c.txt", FileType.FILE)
    assert sandbox.files.read(f"{HOME}/a/b/c.txt") == "hello"
    assert sandbox.commands.run("stat -c %U a/b").stdout == "user\n"


@test("a shorter content replaces a longer one whole")
def _():
    sandbox.files.write("same.txt", "a long content")
    sandbox.files.write("same.txt", "short")
    assert sandbox.files.read("same.txt") == "short"


@test("names with spaces, plus, percent and umlauts go both ways")
def _():
    name = f"{HOME}/s p+a%20ce &ä?.txt"
    sandbox.files.write(name, "x")
    assert sandbox.files.read(name) == "x"
    assert [e.path for e in sandbox.files.list(HOME)].count(name) == 1


@test("bytes of every value come back as they went")
def _():
    data = bytes((i * 7 + (i >> 8)) & 255 for i in range(256 * 1024))
    sandbox.files.write("bytes", data)
    assert bytes(sandbox.files.read("bytes", format="bytes")) == data


@test("several files go up in one request, each to its own path")
def _():
    infos = sandbox.files.write_files([{"path": f"{HOME}/m/1.txt", "data": "one"}, {"path": f"{HOME}/m/deep/2.txt", "data": "two"},
                                       {"path": "m3.txt", "data": "three"}])
    assert [i.path for i in infos] == [f"{HOME}/m/1.txt", f"{HOME}/m/deep/2.txt", f"{HOME}/m3.txt"]
    assert sandbox.files.read(f"{HOME}/m/deep/2.txt") == "two"


@test("a compressed upload and a compressed download are what was meant")
def _():
    text = "line of text\n" * 50_000
    sandbox.files.write("packed.txt", text, gzip=True)
    assert sandbox.commands.run("wc -c <packed.txt").stdout.strip() == str(len(text))
    assert sandbox.files.read("packed.txt", gzip=True) == text


@test("an upload as plain bytes and a download as a stream work")
def _():
    sandbox.files.write("octets", "raw bytes", use_octet_stream=True)
    assert b"".join(sandbox.files.read("octets", format="stream")) == b"raw bytes"


@test("metadata of an upload comes back with the file and is replaced by the next one")
def _():
    sandbox.files.write("labelled", "x", metadata={"Origin": "test 1"})
    assert sandbox.files.get_info("labelled").metadata == {"origin": "test 1"}
    sandbox.files.write("labelled", "x", metadata={"other": "2"})
    assert sandbox.files.get_info("labelled").metadata == {"other": "2"}


@test("reading what is not there is file-not-found, reading a directory is refused")
def _():
    failure(lambda: sandbox.files.read("/no/such/file"), FileNotFoundException)
    assert "is a directory" in str(failure(lambda: sandbox.files.read("/tmp"), SandboxException))


@test("a listing tells names, kinds, sizes and modes, as deep as asked")
def _():
    sandbox.commands.run("mkdir -p l/in/deep; printf 12345 >l/five; chmod 640 l/five; ln -s five l/link")
    shallow = sandbox.files.list("l")
    assert [e.name for e in shallow] == ["five", "in", "link"]
    five, folder, link = shallow
    assert (five.type, five.size, five.mode, five.permissions, five.owner) == (FileType.FILE, 5, 0o640, "-rw-r-----", "user")
    assert folder.type == FileType.DIR and link.symlink_target == f"{HOME}/l/five"
    assert [e.path for e in sandbox.files.list("l", depth=2)] == [f"{HOME}/l/five", f"{HOME}/l/in", f"{HOME}/l/in/deep", f"{HOME}/l/link"]


@test("information on a file has its size and the time it was changed")
def _():
    sandbox.files.write("dated", "123")
    info = sandbox.files.get_info("dated")
    assert info.size == 3 and abs(info.modified_time.timestamp() - time.time()) < 20
    failure(lambda: sandbox.files.get_info("/no/such"), FileNotFoundException)


@test("a directory is made once, exists, and is removed with all in it")
def _():
    assert sandbox.files.make_dir("made/inner") is True
    assert sandbox.files.make_dir("made/inner") is False
    sandbox.files.write("made/inner/f", "1")
    assert sandbox.files.exists("made/inner/f") is True
    sandbox.files.remove("made")
    assert sandbox.files.exists("made") is False
    sandbox.files.remove("made")  # what is not there is removed


@test("a rename moves the file and says where it is")
def _():
    sandbox.files.write("old", "content")
    assert sandbox.files.rename("old", f"{HOME}/new place/new").path == f"{HOME}/new place/new"
    assert sandbox.files.exists("old") is False
    assert sandbox.files.read("new place/new") == "content"
    failure(lambda: sandbox.files.rename("missing", "x"), FileNotFoundException)


run()

"""envd's file system: looking, making, moving, removing and watching."""
from process_cases import rpc_error
from suite import case
from wire import wait_until


def call(box, method, **message):
    return box.rpc("filesystem.Filesystem/" + method, message)


def place(t):
    return t.shared.get(), t.shared.folder()


@case("Stat tells name, kind, path, size, mode, owner and time of a file")
def _(t):
    box, folder = place(t)
    box.write(folder + "/a.txt", b"hello")
    entry = call(box, "Stat", path=folder + "/a.txt").json()["entry"]
    assert entry["name"] == "a.txt" and entry["type"] == "FILE_TYPE_FILE" and entry["path"] == folder + "/a.txt", entry
    assert entry["size"] == "5" and entry["mode"] == 0o644 and entry["permissions"] == "-rw-r--r--", entry
    assert entry["owner"] == "user" and entry["group"] == "user" and entry["modifiedTime"].endswith("Z"), entry


@case("Stat tells a directory as one")
def _(t):
    box, folder = place(t)
    call(box, "MakeDir", path=folder)
    entry = call(box, "Stat", path=folder).json()["entry"]
    assert entry["type"] == "FILE_TYPE_DIRECTORY" and entry["permissions"] == "drwxr-xr-x" and entry["mode"] == 0o755, entry


@case("Stat of what does not exist is not_found")
def _(t):
    box, folder = place(t)
    assert "no-such" in rpc_error(call(box, "Stat", path=folder + "/no-such"), 404, "not_found")


@case("Stat tells where a link leads, and one that leads nowhere is no error", real=True)
def _(t):
    box, folder = place(t)
    box.write(folder + "/target", b"12345678")
    assert box.run("/bin/sh", "-c", f"cd {folder}; ln -s target good; ln -s nowhere bad").end["status"] == "exit status 0"
    good = call(box, "Stat", path=folder + "/good").json()["entry"]
    assert good["symlinkTarget"] == folder + "/target" and good["type"] == "FILE_TYPE_FILE" and good["mode"] == 0o644, good
    bad = call(box, "Stat", path=folder + "/bad").json()["entry"]
    assert bad.get("type", "FILE_TYPE_UNSPECIFIED") == "FILE_TYPE_UNSPECIFIED" and bad.get("mode", 0) == 0, bad


@case("MakeDir makes the parents too, and once")
def _(t):
    box, folder = place(t)
    made = call(box, "MakeDir", path=folder + "/a/b/c")
    assert made.status == 200 and made.json()["entry"]["path"] == folder + "/a/b/c", made
    rpc_error(call(box, "MakeDir", path=folder + "/a/b/c"), 409, "already_exists")


@case("MakeDir where a file is, is invalid_argument")
def _(t):
    box, folder = place(t)
    box.write(folder + "/file", b"x")
    rpc_error(call(box, "MakeDir", path=folder + "/file"), 400, "invalid_argument")


@case("ListDir lists one level unless asked for more, in the order of names, without itself")
def _(t):
    box, folder = place(t)
    for name in ("b/x/deep", "a", "c"):
        box.write(f"{folder}/{name}", b"1")

    def names(**more):
        return [e["path"][len(folder) + 1:] for e in call(box, "ListDir", path=folder, **more).json().get("entries", [])]
    assert names() == ["a", "b", "c"] and names(depth=1) == ["a", "b", "c"], names()
    assert names(depth=2) == ["a", "b", "b/x", "c"] and names(depth=3) == ["a", "b", "b/x", "b/x/deep", "c"], names(depth=3)


@case("ListDir of an empty directory has no entries")
def _(t):
    box, folder = place(t)
    call(box, "MakeDir", path=folder)
    assert not call(box, "ListDir", path=folder).json().get("entries")


@case("ListDir of a file is invalid_argument, of nothing not_found")
def _(t):
    box, folder = place(t)
    box.write(folder + "/file", b"x")
    rpc_error(call(box, "ListDir", path=folder + "/file"), 400, "invalid_argument")
    rpc_error(call(box, "ListDir", path=folder + "/nothing"), 404, "not_found")


@case("Move takes a file with its content and makes the parents")
def _(t):
    box, folder = place(t)
    box.write(folder + "/from", b"content")
    moved = call(box, "Move", source=folder + "/from", destination=folder + "/new/place/to")
    assert moved.status == 200 and moved.json()["entry"]["path"] == folder + "/new/place/to", moved
    assert box.read(folder + "/new/place/to").body == b"content" and box.read(folder + "/from").status == 404


@case("Move replaces a file that is there")
def _(t):
    box, folder = place(t)
    box.write(folder + "/from", b"new")
    box.write(folder + "/to", b"old")
    assert call(box, "Move", source=folder + "/from", destination=folder + "/to").status == 200
    assert box.read(folder + "/to").body == b"new"


@case("Move takes a whole directory")
def _(t):
    box, folder = place(t)
    box.write(folder + "/a/b/file", b"x")
    assert call(box, "Move", source=folder + "/a", destination=folder + "/z").status == 200
    assert box.read(folder + "/z/b/file").body == b"x" and call(box, "Stat", path=folder + "/a").status == 404


@case("Move of what does not exist is not_found")
def _(t):
    box, folder = place(t)
    rpc_error(call(box, "Move", source=folder + "/no", destination=folder + "/to"), 404, "not_found")


@case("Remove takes a directory with all in it, and what is not there is no error")
def _(t):
    box, folder = place(t)
    box.write(folder + "/a/b/c", b"x")
    for _ in range(2):
        assert call(box, "Remove", path=folder + "/a").body == b"{}"
    assert call(box, "Stat", path=folder + "/a").status == 404


@case("paths are relative to the home directory, as is a tilde")
def _(t):
    box, folder = place(t)
    name = folder.rsplit("/", 1)[1]
    box.write(folder + "/f", b"x")
    for path in (f"{name}/f", f"~/{name}/f"):
        assert call(box, "Stat", path=path).json()["entry"]["path"] == folder + "/f", path
    assert call(box, "Stat", path="~").json()["entry"]["path"] == "/home/user"


@case("another user's home is not looked up")
def _(t):
    rpc_error(call(t.shared.get(), "Stat", path="~root/x"), 400, "invalid_argument")


@case("a name that is no UTF-8 or holds every sign keeps its bytes")
def _(t):
    box, folder = place(t)
    name = "a b+c%20&=?#ü☂'\""
    box.write(f"{folder}/{name}", b"odd")
    (entry,) = call(box, "ListDir", path=folder).json()["entries"]
    assert entry["name"] == name and box.read(f"{folder}/{name}").body == b"odd", entry


# -- watching --

def watch(box, path, **more):
    stream = box.stream("filesystem.Filesystem/WatchDir", {"path": path, **more})
    stream.until(lambda m: "start" in m)
    return stream


def event(stream, kind, name):
    return stream.until(lambda m: m.get("filesystem", {}).get("type") == f"EVENT_TYPE_{kind}"
                        and m["filesystem"]["name"] == name)["filesystem"]


@case("a watcher tells of a new file, what is written to it, and its end", real=True)
def _(t):
    box, folder = place(t)
    call(box, "MakeDir", path=folder)
    stream = watch(box, folder)
    box.write(folder + "/seen", b"1")
    event(stream, "CREATE", "seen")
    event(stream, "WRITE", "seen")
    call(box, "Remove", path=folder + "/seen")
    event(stream, "REMOVE", "seen")
    stream.leave()


@case("a rename is told by the old name, then the new one", real=True)
def _(t):
    box, folder = place(t)
    box.write(folder + "/old", b"1")
    stream = watch(box, folder)
    call(box, "Move", source=folder + "/old", destination=folder + "/new")
    event(stream, "RENAME", "old")
    event(stream, "CREATE", "new")
    stream.leave()


@case("only a recursive watcher looks below", real=True)
def _(t):
    box, folder = place(t)
    call(box, "MakeDir", path=folder + "/below")
    flat, deep = watch(box, folder), watch(box, folder, recursive=True)
    box.write(folder + "/below/file", b"1")
    event(deep, "CREATE", "below/file")
    box.write(folder + "/mark", b"1")
    event(flat, "CREATE", "mark")
    assert not [e for e in flat.events if e.get("filesystem", {}).get("name", "").startswith("below/")], flat.events
    flat.leave()
    deep.leave()


@case("entries come with the events when they are asked for", real=True)
def _(t):
    box, folder = place(t)
    call(box, "MakeDir", path=folder)
    stream = watch(box, folder, includeEntry=True)
    box.write(folder + "/file", b"12345")
    made = event(stream, "CREATE", "file")
    assert made["entry"]["path"] == folder + "/file" and made["entry"]["type"] == "FILE_TYPE_FILE", made
    stream.leave()


@case("watching what does not exist is not_found, a file invalid_argument", real=True)
def _(t):
    box, folder = place(t)
    box.write(folder + "/file", b"1")
    for path, code in ((folder + "/no", "not_found"), (folder + "/file", "invalid_argument")):
        ended = box.stream("filesystem.Filesystem/WatchDir", {"path": path}).finish()
        assert ended.status == 200 and ended.error["code"] == code, ended


@case("a watcher that is asked tells each event once", real=True)
def _(t):
    box, folder = place(t)
    call(box, "MakeDir", path=folder)
    watcher = call(box, "CreateWatcher", path=folder).json()["watcherId"]
    assert len(watcher) == 21 and watcher.startswith("w"), watcher
    box.write(folder + "/file", b"1")
    seen = []

    def ask():
        seen.extend(call(box, "GetWatcherEvents", watcherId=watcher).json().get("events", []))
        return [e for e in seen if e["type"] == "EVENT_TYPE_CREATE" and e["name"] == "file"]
    assert len(wait_until("the new file", ask)) == 1
    ask()
    assert len([e for e in seen if e["type"] == "EVENT_TYPE_CREATE"]) == 1, seen
    assert call(box, "RemoveWatcher", watcherId=watcher).body == b"{}"
    rpc_error(call(box, "GetWatcherEvents", watcherId=watcher), 404, "not_found")


@case("a watcher that nobody made is not_found", real=True)
def _(t):
    box = t.shared.get()
    for method in ("GetWatcherEvents", "RemoveWatcher"):
        rpc_error(call(box, method, watcherId="w" + "0" * 20), 404, "not_found")

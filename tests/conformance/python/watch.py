"""Watched directories, by polling as the synchronous SDK does."""
from e2b import FileNotFoundException, FilesystemEventType, InvalidArgumentException, SandboxException

from harness import create, failure, group, run, test, until

sandbox = create()


def watched(path, **options):
    sandbox.files.make_dir(path)
    handle = sandbox.files.watch_dir(path, **options)
    events = []

    def seen(kind, name):
        def there():
            events.extend((e.type, e.name) for e in handle.get_new_events())
            return (kind, name) in events
        until(there, f"{kind} {name} in {events}")
    return events, handle, seen


group("watch")


@test("a watch tells of a new file, of its content and of its end")
def _():
    events, handle, seen = watched("w1")
    sandbox.files.write("w1/f", "x")
    seen(FilesystemEventType.WRITE, "f")
    sandbox.files.remove("w1/f")
    seen(FilesystemEventType.REMOVE, "f")
    assert events[0] == (FilesystemEventType.CREATE, "f")
    handle.stop()


@test("a rename is told as the old name and the new one")
def _():
    sandbox.files.write("w2/old", "x")
    events, handle, seen = watched("w2")
    sandbox.files.rename("w2/old", "w2/new")
    seen(FilesystemEventType.CREATE, "new")
    assert events == [(FilesystemEventType.RENAME, "old"), (FilesystemEventType.CREATE, "new")]
    handle.stop()


@test("a changed mode is told as such, and an event is taken once")
def _():
    sandbox.files.write("w3/f", "x")
    events, handle, seen = watched("w3")
    sandbox.commands.run("chmod 600 w3/f")
    seen(FilesystemEventType.CHMOD, "f")
    assert len(events) == 1 and handle.get_new_events() == []
    handle.stop()


@test("a recursive watch names files below, also in directories made later")
def _():
    _, handle, seen = watched("w4", recursive=True)
    sandbox.files.write("w4/a/b/f", "x")
    seen(FilesystemEventType.CREATE, "a/b/f")
    sandbox.files.write("w4/a/b/g", "x")
    seen(FilesystemEventType.WRITE, "a/b/g")
    handle.stop()


@test("without recursion nothing below is told")
def _():
    events, handle, seen = watched("w5")
    sandbox.files.make_dir("w5/d")
    sandbox.files.write("w5/d/hidden", "x")
    sandbox.files.write("w5/last", "x")
    seen(FilesystemEventType.WRITE, "last")
    assert not [name for _, name in events if "hidden" in name]
    handle.stop()


@test("a watch that was stopped gives an error instead of events")
def _():
    _, handle, _ = watched("w6")
    handle.stop()
    failure(handle.get_new_events, SandboxException)


@test("a directory that is not there cannot be watched, nor can a file")
def _():
    failure(lambda: sandbox.files.watch_dir("/no/such"), FileNotFoundException)
    sandbox.files.write("plain", "x")
    failure(lambda: sandbox.files.watch_dir("plain"), InvalidArgumentException)


run()

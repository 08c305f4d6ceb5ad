"""The control API's lists: filters, pages, order."""
from urllib.parse import quote

from control_cases import UNKNOWN, filter_of, listed, mark, refused
from suite import case


@case("a list holds the new sandbox with all that a row must have")
def _(t):
    name = mark()
    with t.create(metadata={"mark": name}) as box:
        (row,) = listed(t, metadata=filter_of(mark=name)).json()
        for member in ("templateID", "sandboxID", "clientID", "startedAt", "endAt", "cpuCount", "memoryMB", "diskSizeMB",
                       "state", "envdVersion"):
            assert member in row, (member, row)
        assert row["sandboxID"] == box.id and row["metadata"] == {"mark": name}


@case("all pairs of a metadata filter must match, and exactly")
def _(t):
    name = mark()
    with t.create(metadata={"mark": name, "k": "v"}) as a, t.create(metadata={"mark": name, "k": "vv"}) as b:
        def ids(**pairs):
            return {row["sandboxID"] for row in listed(t, metadata=filter_of(mark=name, **pairs)).json()}
        assert ids() == {a.id, b.id}
        assert ids(k="v") == {a.id} and ids(k="vv") == {b.id} and ids(k="V") == set() and ids(other="v") == set()


@case("a metadata filter with letters of other scripts and signs of the query finds what it names")
def _(t):
    name = mark()
    with t.create(metadata={"mark": name, "k y": "a&b=c d"}) as box:
        rows = listed(t, metadata=filter_of(**{"mark": name, "k y": "a&b=c d"})).json()
        assert [row["sandboxID"] for row in rows] == [box.id], rows


@case("pages hold each sandbox once and end without a token")
def _(t):
    name = mark()
    boxes = [t.create(metadata={"mark": name}) for _ in range(5)]
    try:
        seen, token, pages = [], "", 0
        while True:
            page = listed(t, metadata=filter_of(mark=name), limit=2, **({"nextToken": quote(token)} if token else {}))
            assert len(page.json()) <= 2, page
            seen += [row["sandboxID"] for row in page.json()]
            pages += 1
            token = page.headers.get("x-next-token", "")
            if not token:
                break
            assert pages < 9
        assert sorted(seen) == sorted(b.id for b in boxes) and pages >= 3, (seen, pages)
    finally:
        for box in boxes:
            box.__exit__()


@case("lists go by the start, youngest first unless asked otherwise")
def _(t):
    name = mark()
    with t.create(metadata={"mark": name}) as first, t.create(metadata={"mark": name}) as second:
        def ids(**query):
            return [row["sandboxID"] for row in listed(t, metadata=filter_of(mark=name), **query).json()]
        assert ids() == [second.id, first.id] and ids(order="asc") == [first.id, second.id]


@case("a limit out of its range and a token of nobody are 400")
def _(t):
    refused(t.api("GET", "/v2/sandboxes?limit=0"), 400)
    refused(t.api("GET", "/v2/sandboxes?limit=101"), 400)
    refused(t.api("GET", "/v2/sandboxes?nextToken=nonsense"), 400, "token")


@case("a metadata filter that is no list of pairs is 400")
def _(t):
    refused(t.api("GET", "/v2/sandboxes?metadata=" + quote("a=b=c")), 400, "metadata")
    refused(t.api("GET", "/v2/sandboxes?metadata=justaword"), 400, "metadata")


@case("a state that no sandbox has is 400 in a list")
def _(t):
    refused(t.api("GET", "/v2/sandboxes?state=asleep"), 400)


@case("the number of running sandboxes is told when they were asked for")
def _(t):
    name = mark()
    with t.create(metadata={"mark": name}):
        page = listed(t, metadata=filter_of(mark=name), state="running")
        assert int(page.headers["x-total-running"]) >= 1, page.headers


@case("a list asks for the key, as everything does")
def _(t):
    for path in ("/v2/sandboxes", "/sandboxes", f"/sandboxes/{UNKNOWN}"):
        refused(t.api("GET", path, key=""), 401)


@case("the old list holds what runs")
def _(t):
    name = mark()
    with t.create(metadata={"mark": name}) as box:
        rows = t.api("GET", "/sandboxes?metadata=" + filter_of(mark=name)).json()
        assert [row["sandboxID"] for row in rows] == [box.id], rows


@case("a list can be of those that began after a time")
def _(t):
    name = mark()
    with t.create(metadata={"mark": name}) as box:
        began = box.info()["startedAt"]
        year = int(began[:4])
        for text, ids in ((f"{year - 1}{began[4:]}", [box.id]), (f"{year + 1}{began[4:]}", [])):
            rows = listed(t, metadata=filter_of(mark=name), startedAfter=quote(text)).json()
            assert [row["sandboxID"] for row in rows] == ids, (text, rows)


@case("a list can be of one template")
def _(t):
    name = mark()
    with t.create(metadata={"mark": name}) as box:
        assert [r["sandboxID"] for r in listed(t, metadata=filter_of(mark=name), template="base").json()] == [box.id]
        assert listed(t, metadata=filter_of(mark=name), template="another").json() == []

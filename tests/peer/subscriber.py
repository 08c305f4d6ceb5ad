#!/usr/bin/python3
"""A second, independent reader of Skep's event stream: stock ZeroMQ and msgpack, no code of Skep.

    subscriber.py --state DIR [--from N] [--swarm ID [--sandbox ID]]
                  (--count N | --until-closed | --until-head) [--deadline SECONDS]
                  [--cut-after N [--cut-misses M]]

It is written from docs/protocol.md alone: joins the live feed, waits for the first head beacon, replays
from the sequence it wants, then delivers what comes live, and replays again wherever a chunk does not follow
the one before. Each event is one line of JSON on stdout: {"seq", "swarm", "sandbox", "type", "at_ms",
"body"}, the body keyed by field number; the last line is {"end": why, "stream", "last", "gaps", "cut"}.

--count N         end after N events            --until-closed   end with the end of the (first) swarm
--until-head      end when everything known at the start was delivered
--cut-after N     after N events close the subscription, wait until at least M more were journaled
                  (--cut-misses, default 100), and come back with nothing but the last sequence
Exit code: 0, 1 when the deadline passed (default 60 s), 2 when a rule of the protocol was broken.
"""
import argparse
import json
import os
import sys
import time

import msgpack
import zmq

VERSION = 1
REPLAY_COMMAND = 20
SWARM_CLOSED = 22


class Broken(Exception):
    """The peer broke the protocol."""


class OutOfTime(Exception):
    """The deadline passed."""


def plain(value):
    """msgpack values as JSON can say them: bytes as text or hex, keys as text."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"hex": value.hex()}
    if isinstance(value, dict):
        return {str(plain(k)): plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


def unpack_all(data):
    """Every msgpack object of a byte string, one after the other."""
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
    unpacker.feed(data)
    return list(unpacker)


def read_frame(frame):
    """(topic, header, body) of a frame: topic, NUL, one msgpack array, the rest."""
    topic, nul, rest = frame.partition(b"\0")
    if not nul:
        raise Broken("a frame without NUL")
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
    unpacker.feed(rest)
    header = unpacker.unpack()
    if not isinstance(header, list) or not header or header[0] != VERSION:
        raise Broken(f"header {header!r}")
    return topic.decode(), header, rest[unpacker.tell():]


class Stream:
    """The event stream of one state directory, from a sequence on, without gap or repetition."""

    def __init__(self, state, first, swarm, sandbox, deadline):
        self.events_url = "ipc://" + os.path.join(state, "run", "events.sock")
        self.replay_url = "ipc://" + os.path.join(state, "run", "replay.sock")
        self.swarm, self.sandbox, self.deadline = swarm, sandbox, deadline
        self.context = zmq.Context()
        self.live = None
        self.asker = None
        self.request_id = 0
        self.stream = None
        self.head = 0
        self.last = first - 1
        self.gaps = 0

    def wait(self, socket, at_most_s=None):
        """True when `socket` can be read; OutOfTime at the deadline, False after `at_most_s`."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise OutOfTime
        limit = left if at_most_s is None else min(left, at_most_s)
        return bool(socket.poll(int(limit * 1000) + 1))

    def same_stream(self, name):
        if self.stream is None:
            self.stream = name
        if name != self.stream:
            raise Broken(f"another stream: {name}, before it was {self.stream}")

    def join(self):
        """Subscribes, and waits for the beacon that says the subscription is known."""
        self.live = self.context.socket(zmq.SUB)
        self.live.setsockopt(zmq.LINGER, 0)
        self.live.connect(self.events_url)
        prefix = "e/" + (f"{self.swarm}/" if self.swarm else "") + (f"{self.sandbox}/" if self.sandbox else "")
        self.live.setsockopt(zmq.SUBSCRIBE, prefix.encode())
        self.live.setsockopt(zmq.SUBSCRIBE, b"m/")
        joined = False
        while not joined:
            self.wait(self.live)
            topic, header, _ = read_frame(self.live.recv())
            if topic == "m/":
                self.same_stream(header[1])
                self.head = max(self.head, header[2])
                joined = True

    def leave(self):
        self.live.close()
        self.live = None

    def ask(self, first, chunks):
        """One page of history, as a map by field number."""
        if self.asker is None:
            self.asker = self.context.socket(zmq.DEALER)
            self.asker.setsockopt(zmq.LINGER, 0)
            self.asker.connect(self.replay_url)
        self.request_id += 1
        body = msgpack.packb({1: first, 2: self.swarm or "", 3: self.sandbox or "", 4: chunks})
        self.asker.send(msgpack.packb({1: VERSION, 2: self.request_id, 3: "", 4: REPLAY_COMMAND, 5: body},
                                      use_bin_type=True))
        while True:
            self.wait(self.asker)
            reply = msgpack.unpackb(self.asker.recv(), raw=False, strict_map_key=False)
            if reply.get(2) != self.request_id:
                continue  # the answer to an earlier question
            failure = reply.get(3) or {}
            if failure.get(1):
                raise Broken(f"replay was refused: {plain(failure)}")
            page = msgpack.unpackb(reply[4], raw=False, strict_map_key=False)
            self.same_stream(page[1])
            self.head = max(self.head, page[3])
            return page

    def chunk(self, swarm, sandbox, first, count, body):
        """Delivers the events of a chunk that are new."""
        events = unpack_all(body)
        if len(events) != count:
            raise Broken(f"chunk {first}: {count} events announced, {len(events)} found")
        for index, (kind, at_ms, fields) in enumerate(events):
            seq = first + index
            if seq > self.last:
                self.last = seq
                yield {"seq": seq, "swarm": swarm, "sandbox": sandbox, "type": kind, "at_ms": at_ms,
                       "body": plain(fields)}

    def history(self):
        """Delivers everything that is on disk after the last sequence."""
        while True:
            page = self.ask(self.last + 1, 64)
            if page[2] > self.last + 1:
                raise Broken(f"compacted: the oldest sequence is {page[2]}")
            for chunk in page[4]:
                yield from self.chunk(chunk.get(1, ""), chunk.get(2, ""), chunk[5], chunk[3], chunk[4])
            if page[5] > page[3]:
                self.last = max(self.last, page[3])
                return
            if page[5] <= self.last and not page[4]:
                raise Broken("a page of history does not go on")

    def events(self):
        """Every event, in order; never ends by itself."""
        self.join()
        yield from self.history()
        while True:
            quiet = not self.wait(self.live, 2.0)
            if quiet:
                # Nothing for a while: a selection learns of a lost tail from the head alone.
                if self.head > self.last:
                    yield from self.history()
                continue
            topic, header, body = read_frame(self.live.recv())
            self.same_stream(header[1])
            if topic == "m/":
                self.head = max(self.head, header[2])
                if not self.swarm and self.head > self.last:
                    self.gaps += 1
                    yield from self.history()
                continue
            _, swarm, sandbox, _ = topic.split("/")
            first, count, in_sandbox, in_swarm = header[2:6]
            self.head = max(self.head, first + count - 1)
            if first + count - 1 <= self.last:
                continue
            before = in_sandbox if self.sandbox else in_swarm if self.swarm else first - 1
            if before > self.last:
                self.gaps += 1
                yield from self.history()
                continue
            yield from self.chunk("" if swarm == "-" else swarm, "" if sandbox == "-" else sandbox, first, count,
                                  body)


def wait_for_misses(stream, misses):
    """Cut off: asks now and then how far the journal is, until enough was missed."""
    missed_from = stream.last
    ticker = stream.context.socket(zmq.PAIR)
    ticker.bind("inproc://ticker")
    while stream.ask(max(stream.head, 1), 1)[3] < missed_from + misses:
        stream.wait(ticker, 0.1)  # nothing ever comes: a wait that the deadline bounds
    ticker.close()
    return stream.head - missed_from


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", required=True, help="the state directory of skepd")
    parser.add_argument("--from", dest="first", type=int, default=1, help="first sequence wanted")
    parser.add_argument("--swarm", default="", help="only this swarm")
    parser.add_argument("--sandbox", default="", help="only this sandbox of the swarm")
    parser.add_argument("--count", type=int, help="end after so many events")
    parser.add_argument("--until-closed", action="store_true", help="end with the end of a swarm")
    parser.add_argument("--until-head", action="store_true", help="end at the head of the start")
    parser.add_argument("--cut-after", type=int, help="be cut off after so many events")
    parser.add_argument("--cut-misses", type=int, default=100, help="stay away until so many were missed")
    parser.add_argument("--deadline", type=float, default=60, help="seconds")
    args = parser.parse_args()
    stream = Stream(args.state, args.first or 1, args.swarm, args.sandbox, time.monotonic() + args.deadline)
    why, code, seen, cut, gaps = "", 0, 0, 0, 0
    source = stream.history() if args.until_head else stream.events()
    try:
        while not why:
            event = next(source, None)
            if event is None:
                why = "head"
                break
            print(json.dumps(event), flush=True)
            seen += 1
            if args.count and seen >= args.count:
                why = "count"
            elif args.until_closed and event["type"] == SWARM_CLOSED:
                why = "closed"
            elif seen == args.cut_after:
                # Everything is forgotten but the last sequence: a new process would know no more.
                source.close()
                stream.leave()
                stream.last, gaps = event["seq"], stream.gaps
                cut = wait_for_misses(stream, args.cut_misses)
                stream = Stream(args.state, event["seq"] + 1, args.swarm, args.sandbox, stream.deadline)
                source = stream.events()
    except OutOfTime:
        why, code = "deadline", 1
    except Broken as broken:
        why, code = f"broken: {broken}", 2
    print(json.dumps({"end": why, "stream": stream.stream, "last": stream.last, "gaps": gaps + stream.gaps,
                      "cut": cut}), flush=True)
    stream.context.destroy(linger=0)
    return code


if __name__ == "__main__":
    sys.exit(main())

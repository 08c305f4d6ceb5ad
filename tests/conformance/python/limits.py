"""Quotas and rates, at a host that allows one sandbox at a time and three creations of a key."""
import os

import httpx
from e2b import RateLimitException, Sandbox, SandboxState

from harness import failure, group, run, test

URL = os.environ["LIMITED_URL"]
KEYS = os.environ["LIMITED_KEYS"].split(",")


def at(index):
    return {"api_url": URL, "sandbox_url": URL, "api_key": KEYS[index]}


def raw_create(index):
    return httpx.post(URL + "/v2/sandboxes", json={"templateID": "base", "timeout": 60}, headers={"X-API-KEY": KEYS[index]}, timeout=30)


def create_and_kill(index):
    assert Sandbox.create(**at(index)).kill() is True


group("error: rate limit")


@test("one sandbox too many is a limit that no waiting lifts")
def _():
    first = Sandbox.create(**at(0))
    try:
        error = failure(lambda: Sandbox.create(**at(0)), RateLimitException)
        assert "maximum number of concurrent E2B sandboxes (1)" in str(error)
        answer = raw_create(0)
        assert answer.status_code == 429 and "retry-after" not in answer.headers
        assert answer.headers["should-retry"] == "false"
    finally:
        first.kill()


@test("a paused sandbox does not count, its resume does")
def _():
    first = Sandbox.create(**at(1))
    first.pause()
    second = Sandbox.create(**at(1))
    failure(lambda: Sandbox.connect(first.sandbox_id, **at(1)), RateLimitException)
    assert Sandbox.get_info(first.sandbox_id, **at(1)).state == SandboxState.PAUSED
    second.kill()
    Sandbox.connect(first.sandbox_id, **at(1))
    assert first.kill() is True


@test("creations beyond the rate say how long to wait")
def _():
    for _ in range(3):
        create_and_kill(2)
    assert "Rate limit exceeded" in str(failure(lambda: Sandbox.create(**at(2)), RateLimitException))
    answer = raw_create(2)
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) > 60
    assert (answer.headers["ratelimit-limit"], answer.headers["ratelimit-remaining"]) == ("3", "0")


@test("the rate is of one key and not of its neighbour, and lists are not creations")
def _():
    for _ in range(3):
        create_and_kill(3)
    failure(lambda: Sandbox.create(**at(3)), RateLimitException)
    assert Sandbox.list(**at(3)).next_items() == []
    create_and_kill(4)


run()

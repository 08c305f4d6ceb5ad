"""What a sandbox spent at its models, how much it may, and the end of its keys: ours, below /skep/v1/."""
from control_cases import UNKNOWN, refused
from suite import case

MODEL = {"network": {"rules": {"model.example.com": [{"transform": {"headers": {"x-api-key": "key-of-nobody"}}}]}}}


def account(t, box, method, what, body=None):
    return t.api(method, f"/skep/v1/sandboxes/{box.id}/{what}", body)


def gateway(answer):
    assert answer.status == 200, answer
    return answer.json()["gateway"]


@case("a sandbox that called no model has spent nothing", ours=True)
def _(t):
    with t.create(**MODEL) as box:
        answer = account(t, box, "GET", "usage")
        told = answer.json()
        assert told["sandboxID"] == box.id and told["calls"] == [] and told["cursor"] == 0 and told["oldest"] == 1, told
        spent = gateway(answer)
        zeros = ("requests", "refused", "tunnels", "bytesIn", "bytesOut", "inputTokens", "outputTokens", "microUsd", "unpricedCalls")
        assert all(spent[name] == 0 for name in zeros) and spent["models"] == {}, spent
        assert spent["allowance"] == {"microUsd": None, "tokens": None, "usedUp": False} and not spent["keysRevoked"], spent
        assert account(t, box, "GET", "usage?after=7").json()["calls"] == []


@case("an allowance is shown, counts what was spent, and can be taken back", ours=True)
def _(t):
    with t.create(**MODEL) as box:
        answer = account(t, box, "PUT", "allowance", {"microUsd": 5_000_000, "tokens": 1_000})
        assert gateway(answer)["allowance"] == {"microUsd": 5_000_000, "tokens": 1_000, "usedUp": False}, answer
        shown = gateway(account(t, box, "GET", "usage"))["allowance"]
        assert shown == {"microUsd": 5_000_000, "tokens": 1_000, "usedUp": False}, shown
        assert gateway(account(t, box, "PUT", "allowance", {"tokens": 0}))["allowance"] == {
            "microUsd": None, "tokens": 0, "usedUp": True}
        assert gateway(account(t, box, "PUT", "allowance", {}))["allowance"] == {
            "microUsd": None, "tokens": None, "usedUp": False}


@case("an allowance that is no whole number from 0 up is 400 and changes nothing", ours=True)
def _(t):
    with t.create(**MODEL) as box:
        assert account(t, box, "PUT", "allowance", {"tokens": 9}).status == 200
        for body in ({"microUsd": -1}, {"tokens": "5"}, b"[]"):
            refused(account(t, box, "PUT", "allowance", body), 400)
        assert gateway(account(t, box, "GET", "usage"))["allowance"]["tokens"] == 9


@case("keys that were taken away are back with new rules", ours=True)
def _(t):
    with t.create(**MODEL) as box:
        assert gateway(account(t, box, "DELETE", "keys"))["keysRevoked"] is True
        assert gateway(account(t, box, "GET", "usage"))["keysRevoked"] is True
        assert box.api("PUT", "/network", MODEL["network"]).status == 204
        assert gateway(account(t, box, "GET", "usage"))["keysRevoked"] is False


@case("the account of an unknown sandbox is 404, and so is one that was killed", ours=True)
def _(t):
    with t.create() as box:
        pass
    for sandbox_id in (UNKNOWN, box.id):
        for method, what, body in (("GET", "usage", None), ("PUT", "allowance", {"tokens": 1}), ("DELETE", "keys", None)):
            refused(t.api(method, f"/skep/v1/sandboxes/{sandbox_id}/{what}", body), 404)


@case("an account has no other routes, and a cursor is a number", ours=True)
def _(t):
    box = t.shared.get()
    refused(account(t, box, "POST", "usage", {}), 404)
    refused(account(t, box, "GET", "allowance"), 404)
    for cursor in ("x", "-1", "1.5"):
        refused(account(t, box, "GET", f"usage?after={cursor}"), 400)

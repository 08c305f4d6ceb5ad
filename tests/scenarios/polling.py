#!/usr/bin/python3
"""Output where streams fail: behind a proxy that keeps every answer until it is whole, it is polled, and none is missing."""
# presets: dev
# timeout: 240
from holding_proxy import HoldingProxy
from installation import Installation, repository
from scenario import main, scenario, wait_until
from simulator import KEY, Simulator


@scenario("behind a proxy that lets no stream through the output of a run is polled, and all of it comes")
def _(work):
    repo = repository(work / "repo", {"README": "a tree\n"})
    with Simulator(work) as sim, HoldingProxy(sim.url) as proxy:
        config = sim.config().replace(f'sandbox_url = "{sim.url}"', f'sandbox_url = "{proxy.url}"')
        with Installation(work, config=config) as skep:
            skep.run("secret", "set", "SIM_KEY", input=KEY + "\n", code=0)
            # Longer than two streams take to fail, each at its deadline of 30 s.
            swarm = skep.start(repo, "--provider", "sim", "--panes", "2", "--", "sim-agent", "--lines", "10",
                               "--interval-ms", "8000")

            def notices(code):
                return [e for e in skep.events(swarm) if e["type"] == "notice" and e["body"]["code"] == code]
            wait_until("output is polled", lambda: notices("output_polled"), 100, every_s=1)
            polled = skep.log_text(f"{swarm}/p0")
            wait_until("more comes while it runs", lambda: len(skep.log_text(f"{swarm}/p0")) > len(polled), 40, every_s=1)
            assert skep.status(swarm)["swarm"]["state"] == "running"
            done = skep.closed(swarm, 120, every_s=0.5)
            assert done["swarm"]["result"] == "completed", done["swarm"]
            failed = [e["body"]["count"] for e in skep.events(swarm) if e["type"] == "sandbox.poll_failed"]
            assert failed == [1, 2] and not notices("output_incomplete"), failed
            for pane in done["panes"]:
                ends = [e["body"]["final_offset"] for e in skep.events(swarm)
                        if e["type"] == "pane.exited" and e["body"]["pane"] == pane["pane"]]
                text = skep.log_of(pane).read_bytes()
                assert ends == [len(text)] and text.count(b"\n") >= 10, (ends, len(text))


main()

"""Ten thousand tunnels: one batch makes them, pages list them, and memory is in proportion and given back."""

import time

from agent import Agent
from lab import wait_for

COUNT, PAGE = 10_000, 1000
KIB_PER_TUNNEL, KIB_LEFT, ROUNDS, KIB_PER_ROUND = 4, 16 << 10, 3, 4 << 10


def test_ten_thousand_tunnels_in_one_batch_are_listed_in_pages_and_go_with_their_memory(lab, record_property):
    host = lab.host(1)
    host.ip("route add 10.100.0.0/16 via 10.10.10.2")
    agent = Agent(host, extra=("--log-level", "info")).start()
    agent.bridge("br0", vni=7)
    agent.get("/metrics")
    before = agent.resident_kib()
    operations = [{"method": "PUT", "path": f"/v1/bridges/br0/tunnels/t{n}",
                   "body": {"remote_ip": f"10.100.{n >> 8}.{n & 255}"}} for n in range(COUNT)]
    start = time.monotonic()
    answer = agent.request("POST", "/v1/batch", {"operations": operations})
    seconds = time.monotonic() - start
    assert answer.status == 200 and len(answer.body["results"]) == COUNT
    # What the request itself took is given back a second later.
    wait_for(lambda: agent.resident_kib() - before < KIB_PER_TUNNEL * COUNT, what="memory in proportion")
    time.sleep(1)
    each = (agent.resident_kib() - before) / COUNT
    names, path, pages = [], "/v1/bridges/br0/tunnels", 0
    token = ""
    while token is not None:
        page = agent.get(path + (f"?page_token={token}" if token else ""))
        assert len(page["items"]) <= PAGE
        names, token, pages = names + [item["name"] for item in page["items"]], page.get("next_page_token"), pages + 1
    assert pages == COUNT // PAGE and sorted(names) == names and len(set(names)) == COUNT
    left = []
    for _ in range(ROUNDS):
        agent.delete("/v1/bridges/br0")
        wait_for(lambda: agent.resident_kib() - before < KIB_LEFT, what="memory is given back")
        time.sleep(1)
        left.append(agent.resident_kib() - before)
        agent.bridge("br0", vni=7)
        assert agent.request("POST", "/v1/batch", {"operations": operations}).status == 200
    assert left[-1] - left[0] < KIB_PER_ROUND * (ROUNDS - 1), left
    record_property("number", f"{COUNT} tunnels in one batch: {seconds:.2f} s, {each:.2f} KiB each, {left} KiB left")

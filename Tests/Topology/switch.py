"""One agent whose bridge br0 has guests on TAPs: tap1 leads to guest 1 (10.0.0.1), and so on."""

from agent import Agent
from lab import overlay, overlay_cidrs
from traffic import wait_reachable


class Switch:
    def __init__(self, lab, count, *, ports=None, **bridge):
        """`ports` are fields of ports by number, `bridge` those of the bridge."""
        self.lab, self.agent = lab, Agent(lab.host(1)).start()
        self.agent.bridge("br0", **bridge)
        self.guests = {}
        for number in range(1, count + 1):
            self.guests[number] = lab.guest(number)
            self.port(number, **(ports or {}).get(number, {}))

    def port(self, number, **fields):
        """Writes a guest's port, with an address of the guest's unless told otherwise."""
        return self.agent.tap(
            self.guests[number], f"tap{number}", **{"addresses": overlay_cidrs(number), **fields})

    def mac(self, number):
        return self.guests[number].mac("eth0")

    def introduce(self, *numbers):
        """Each of these guests knows where the others are, and so does the bridge."""
        for number in numbers:
            for other in numbers:
                if other != number:
                    wait_reachable(self.guests[number], overlay(other, 4))

    def rule(self, name, *actions, match=None, **fields):
        return self.agent.put(
            f"/v1/bridges/br0/rules/{name}", {"match": match or {}, "actions": list(actions), **fields})

    def rule_status(self, name):
        return self.agent.status(f"bridges/br0/rules/{name}")

    def drops(self, number):
        return self.agent.drops(f"bridges/br0/ports/tap{number}")

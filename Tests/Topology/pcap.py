"""A capture of one link with tcpdump, read back by tshark: an opinion on our frames that is not ours."""

import signal
import time

from lab import wait_for

CHECKED = ("ip.check_checksum", "udp.check_checksum", "tcp.check_checksum")


def wait_until_still(file, seconds=0.5, timeout=20):
    """Until a file has not grown for so long: what is still on its way into it would be lost with the writer's end."""
    deadline, size, silent = time.monotonic() + timeout, -1, 0
    # By looks, not by the clock: a pause of the whole machine is one look.
    while silent < seconds * 20 and time.monotonic() < deadline:
        time.sleep(0.05)
        now = file.stat().st_size
        size, silent = now, silent + 1 if now == size else 0


class Capture:
    """Records one interface from here until `packets`."""

    def __init__(self, space, ifname, name="capture", only=""):
        self.space, self.file = space, space.lab.path / f"{name}.pcap"
        argv = ["tcpdump", "-i", ifname, "-w", self.file, "-Z", "root", "-U", "--immediate-mode", "-s", 2048]
        argv += ["-B", 32768]  # KiB: nothing of a burst may be missing
        self.process = space.spawn(*argv, *only.split(), log=f"{name}.log")
        wait_for(lambda: "listening on" in self.process.log.read_text(), what="tcpdump listens")

    def packets(self, *fields, port=4789, show="vxlan"):
        """A dictionary a packet that matches `show`: each field's values, outermost first. `port` is taken for
        VXLAN, and every checksum is verified."""
        if self.process.poll() is None:
            wait_until_still(self.file)
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)
        argv = ["tshark", "-n", "-r", self.file, "-d", f"udp.port=={port},vxlan", "-Y", show, "-T", "fields",
                "-E", "separator=|", "-E", "occurrence=a", "-E", "aggregator=,"]
        argv += [word for preference in CHECKED for word in ("-o", f"{preference}:TRUE")]
        argv += [word for field in fields for word in ("-e", field)]
        lines = self.space.run(*argv, timeout=60).stdout.splitlines()
        return [dict(zip(fields, (value.split(",") if value else [] for value in line.split("|")), strict=True))
                for line in lines]

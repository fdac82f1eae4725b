"""A network that swallows what a sender sent, the sender's death, and a network that heals; for a network namespace of
its own: `unshare --net python -m tests.faults.blackhole FOLDER GROUND`.

Two senders, killed while their make-writable is in the kernel and not acknowledged. The first is the product's: its
kernel gives up, and nothing arrives. The second, the control, has no TCP_USER_TIMEOUT: what it sent arrives when the
network heals, long after its death. Without the control, silence would prove nothing.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.faults.auditor import audit
from tests.faults.site import Said, Site, has_answered, is_stopped, wait_for
from tests.faults.worlds import quick

SENDER = "0.3"  # TIME_SCALE of the senders: 1.5 s to send, 3 s until the kernel gives up


def main(folder: Path, ground: Path) -> None:
    _run("ip", "link", "set", "lo", "up")
    _run("nft", "add table inet hole; add chain inet hole in { type filter hook input priority 0 ; }")
    site = Site(folder, ground=ground, scale=0.05)
    try:
        site.simulate(quick(clusters=2))
        site.prepare()
        ours, theirs = (site.approved(f"dr-00{n}:/dr/0000") for n in (0, 1))
        _send_into_the_hole(site, theirs, "dr-001", "tests.faults.patient_hands")
        _send_into_the_hole(site, ours, "dr-000", "tests.faults.hands")
        wait_for("the kernel to give up", lambda: not _unacknowledged(site, "dr-000"))
        _heal("dr-000", site)
        site.sweep()
        wait_for("the closing", lambda: _closed(site, ours))
        assert site.posts == [], "it arrived after all"
        audit(site, ended=False)
        assert _unacknowledged(site, "dr-001"), "the control has nothing to deliver any more"
        _heal("dr-001", site)
        wait_for("the late make-writable", lambda: site.posts, patience=240)  # the kernel tries ever more rarely
        assert {post.path.split("/")[-2] for post in site.posts} == {_on_cluster(site, theirs)}
    finally:
        site.close()
    print("no late make-writable; the control's came")


def _send_into_the_hole(site: Site, failover: int, cluster: str, module: str) -> None:
    """Close the way between the check and the first byte, and kill the sender with its request in the kernel. A sender
    that missed its window is back at `approved`, and another tries."""
    port = site.proxies[cluster].port

    def swallowed() -> bool:
        sender = site.hands(module, TIME_SCALE=SENDER, CRASH_AT="send.after_intent:1:STOP")
        sender.begin("execute", failover=failover)
        wait_for("the stop", lambda: is_stopped(sender.child) or has_answered(sender.child))
        _run("nft", f"add rule inet hole in tcp dport {port} drop")
        sender.child.send_signal(signal.SIGCONT)
        wait_for("the end of the sending", lambda: _unacknowledged(site, cluster) or site.state(failover) != "sent")
        if not _unacknowledged(site, cluster):
            _heal(cluster, site)
        site.stop(sender.child, signal.SIGKILL)
        return bool(_unacknowledged(site, cluster))

    wait_for("a request in the kernel", swallowed)
    assert site.state(failover) == "sent"


def _unacknowledged(site: Site, cluster: str) -> list[str]:
    """Connections to the cluster with bytes that it has not acknowledged, whether or not their process lives."""
    port = f"{site.proxies[cluster].port:04X}"
    lines = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return [line[1] for line in lines if line[2].endswith(f":{port}") and int(line[4].partition(":")[0], 16)]


def _heal(cluster: str, site: Site) -> None:
    listed = _run("nft", "-a", "list chain inet hole in")
    for line in listed.splitlines():
        if f"dport {site.proxies[cluster].port} " in line:
            _run("nft", f"delete rule inet hole in handle {line.rpartition(' ')[2]}")


def _closed(site: Site, failover: int) -> bool:
    with suppress(Said):
        site.act("close", failover=failover)
    return site.state(failover) == "closed"


def _on_cluster(site: Site, failover: int) -> str:
    row = site.query(
        "SELECT relationship_id AS it FROM fleet_relationship WHERE id = ?", site.failover(failover)["relationship_id"]
    )
    return str(row[0]["it"])


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

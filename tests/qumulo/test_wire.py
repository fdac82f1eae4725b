"""The last metre: the limits hold in the stream itself, without the client above it."""

from __future__ import annotations

import socket
from concurrent.futures import Future

import httpcore
import httpx
import pytest

from dashboard.qumulo import wire
from dashboard.qumulo.errors import CannotConnect, TooLate
from dashboard.qumulo.trust import Trust
from dashboard.qumulo.wire import Wire, WireTransport, boottime, dial
from tests.qumulo.lab import LOOPBACK, always, authority, giving, serving


def test_the_window_is_checked_in_the_stream_for_each_request_anew():
    net = Wire(addresses=LOOPBACK, pin=None)
    transport = WireTransport(net, Trust.ca(authority().pem).context())

    def post(server_url: str, send_by: float | None = None) -> int:
        net.limit(deadline=boottime() + 20, send_by=send_by)
        response = transport.handle_request(httpx.Request("POST", f"{server_url}/x", content=b"body"))
        response.read()
        return response.status_code

    with serving(always(giving({}))) as server, transport:
        with pytest.raises(TooLate):
            post(server.url, send_by=boottime())
        assert server.received == b""
        assert post(server.url, send_by=boottime() + 20) == 200
        with pytest.raises(TooLate):  # on the kept connection too, where httpcore itself does nothing before the write
            post(server.url, send_by=boottime())
        assert server.posts == 1


def test_a_deadline_that_is_over_before_the_first_byte_means_not_sent():
    net = Wire(addresses=LOOPBACK, pin=None)
    net.limit(deadline=boottime())
    with pytest.raises(TooLate):
        net.before_write()


def test_a_deadline_that_is_over_later_is_a_timeout():
    net = Wire(addresses=LOOPBACK, pin=None)
    net.limit(deadline=boottime() + 20)
    assert 0 < net.before_write() <= 20
    net._deadline = boottime()
    with pytest.raises(httpcore.WriteTimeout):
        net.before_write()
    with pytest.raises(httpcore.ReadTimeout):
        net.before_read()


def test_the_window_holds_for_the_first_byte_only():
    """What has begun is finished: half a request would be the worst of all."""
    net = Wire(addresses=LOOPBACK, pin=None)
    net.limit(deadline=boottime() + 20, send_by=boottime() + 20)
    net.before_write()
    net._send_by = boottime()
    assert net.before_write() > 0


def test_the_kernel_drops_what_nobody_acknowledges():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        stream = dial("127.0.0.1", port, addresses=LOOPBACK, by=boottime() + 20)
        found: socket.socket = stream.get_extra_info("socket")
        try:
            assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
            assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        finally:
            stream.close()


def test_a_name_leads_to_one_of_its_allowed_addresses():
    """`localhost` may lead to ::1 as well, which is not in the list; that must not stand in the way."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = dial("localhost", listener.getsockname()[1], addresses=LOOPBACK, by=boottime() + 20)
        assert stream.get_extra_info("server_addr")[0] == "127.0.0.1"
        stream.close()


def test_a_name_that_cannot_be_resolved_is_said_to_be_so():
    for _ in range(2):
        with pytest.raises(CannotConnect, match=r"could not be resolved\."):
            dial("x" * 64, 8000, addresses=LOOPBACK, by=boottime() + 20)
    assert not wire._lookups


def test_a_name_server_that_hangs_does_not_hold_the_call():
    """Nor does it collect threads: all who ask for the name wait for the same lookup."""
    hanging: Future[list[str]] = Future()
    wire._lookups["slow.example", 8000] = hanging
    try:
        with pytest.raises(CannotConnect, match="in time"):
            dial("slow.example", 8000, addresses=LOOPBACK, by=boottime() + 0.05)
        assert wire._lookups["slow.example", 8000] is hanging
    finally:
        del wire._lookups["slow.example", 8000]


@pytest.mark.allow_hosts(["127.0.0.1", "127.0.0.2", "127.0.0.3"])
def test_an_address_that_is_dead_leaves_time_for_the_next():
    """Two addresses of one name: the first drops every greeting, as a node without power does."""
    with socket.socket() as dead, socket.create_server(("127.0.0.3", 0)) as alive:
        port = alive.getsockname()[1]
        dead.bind(("127.0.0.2", port))
        dead.listen(0)
        fillers = [socket.socket() for _ in range(4)]  # its queue is full, so it answers no more
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.2", port))
            found: Future[list[str]] = Future()
            found.set_result(["127.0.0.2", "127.0.0.3"])
            wire._lookups["two.example", port] = found
            stream = dial("two.example", port, addresses=LOOPBACK, by=boottime() + 3)
            assert stream.get_extra_info("server_addr")[0] == "127.0.0.3"
            stream.close()
            with pytest.raises(CannotConnect, match="nothing answered in time"):
                dial("127.0.0.2", port, addresses=LOOPBACK, by=boottime() + 0.2)
        finally:
            wire._lookups.pop(("two.example", port), None)
            for filler in fillers:
                filler.close()

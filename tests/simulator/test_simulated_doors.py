"""The HTTPS door: certificates, connections, and that nobody waits for anybody else."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import httpx
import pytest

from dashboard.simulator import Door, faults, serve


@pytest.fixture
def door(dr) -> Iterator[Door]:
    with serve(dr) as it:
        yield it


@pytest.fixture
def trust(door: Door) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=door.ca_pem.decode())


def connect(door: Door, trust: ssl.SSLContext, name: str = "127.0.0.1") -> ssl.SSLSocket:
    return trust.wrap_socket(socket.create_connection(("127.0.0.1", door.port), timeout=60), server_hostname=name)


def read_answer(connection: ssl.SSLSocket) -> tuple[bytes, bytes]:
    """Head and body of one answer, by its Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return head, body


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


GET_VERSION = b"GET /v1/version HTTP/1.1\r\nHost: dr\r\n\r\n"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_the_certificate_is_good_for_address_and_localhost_and_has_the_fingerprint(door, trust, name):
    with connect(door, trust, name) as connection:
        der = connection.getpeercert(binary_form=True)
    assert der is not None
    assert hashlib.sha256(der).hexdigest().upper() == door.fingerprint.replace(":", "")
    assert len(door.fingerprint) == 32 * 3 - 1


def test_the_certificate_passes_the_strictest_checks(door, trust):
    trust.verify_flags |= ssl.VERIFY_X509_STRICT
    with connect(door, trust) as connection:
        assert connection.version() in ("TLSv1.2", "TLSv1.3")


def test_another_authority_is_not_believed(door):
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{door.url}/v1/version", trust_env=False)


def test_many_requests_go_over_one_connection(door, trust):
    with connect(door, trust) as connection:
        for _ in range(5):
            connection.sendall(GET_VERSION)
            head, body = read_answer(connection)
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"Qumulo Core 7.8.0" in body


def test_a_client_that_asks_to_close_is_obeyed(door, trust):
    with connect(door, trust) as connection:
        connection.sendall(GET_VERSION.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        head, _ = read_answer(connection)
        assert b"Connection: close" in head
        assert connection.recv(1) == b""


def test_clients_that_never_finish_their_handshake_delay_nobody(door, trust):
    """Were it done in the accept loop, the first of them would stop the server."""
    idle = [socket.create_connection(("127.0.0.1", door.port)) for _ in range(20)]
    try:
        with httpx.Client(verify=trust, base_url=door.url, timeout=60, trust_env=False) as client:
            assert client.get("/v1/version").status_code == 200
    finally:
        for connection in idle:
            connection.close()


def test_a_request_that_waits_delays_no_other_connection(dr, door, trust):
    dr.faults.add(faults.slow_after(60, path="/v1/node/state"))
    with connect(door, trust) as slow, httpx.Client(verify=trust, timeout=60, trust_env=False) as other:
        slow.sendall(b"GET /v1/node/state HTTP/1.1\r\nHost: dr\r\n\r\n")
        until(lambda: dr.received("GET", "node/state"))
        assert other.get(f"{door.url}/v1/version").status_code == 200
        slow.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            slow.recv(1)


def test_a_request_cut_off_in_the_middle_is_not_processed(dr, door, trust, world):
    identity = next(iter(world.relationships))
    with connect(door, trust) as connection:
        connection.sendall(
            f"POST /v2/replication/target-relationships/{identity}/make-writable HTTP/1.1\r\nHost: dr\r\n"
            f"Authorization: Bearer {dr.executor_token}\r\nContent-Length: 10\r\n\r\n12345".encode()
        )
    door.stop()  # returns when every connection has been dealt with
    assert dr.log == []
    assert world.relationship("/dr/finance").status()["state"] == "ESTABLISHED"


@pytest.mark.parametrize("extra", [b"Transfer-Encoding: chunked", b"Content-Length: -1", b"Content-Length: 99999999"])
def test_a_body_of_unknown_or_absurd_length_is_refused(door, trust, extra):
    with connect(door, trust) as connection:
        connection.sendall(b"POST /v1/session/login HTTP/1.1\r\nHost: dr\r\n" + extra + b"\r\n\r\n")
        head, _ = read_answer(connection)
        assert head.startswith(b"HTTP/1.1 411 ")


def test_a_head_request_gets_no_body(door, trust):
    with connect(door, trust) as connection:
        connection.sendall(GET_VERSION.replace(b"GET", b"HEAD") + GET_VERSION)
        data = b""
        while data.count(b"\r\n\r\n") < 2 or not data.endswith(b"}"):
            data += connection.recv(65536)
        first, _, rest = data.partition(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 405 ")
        assert rest.startswith(b"HTTP/1.1 200 OK")


def test_requests_from_many_threads_are_all_answered_and_all_logged(door, trust, dr, world):
    identity = next(iter(world.relationships))
    accepted: list[int] = []

    def work() -> None:
        with httpx.Client(verify=trust, base_url=door.url, timeout=60, trust_env=False) as client:
            client.headers["Authorization"] = f"Bearer {dr.executor_token}"
            for _ in range(10):
                assert client.get("/v2/replication/target-relationships/status/").status_code == 200
            answer = client.post(f"/v2/replication/target-relationships/{identity}/make-writable")
            accepted.append(answer.status_code)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(accepted) == [200] + [409] * 15, "sixteen at once, one is accepted"
    assert len(dr.received("GET")) == 160
    assert len(world.make_writable_received()) == 16


def test_stopping_hangs_up_on_everybody_and_frees_the_port(dr):
    dr.faults.add(faults.no_answer(path="/v1/version"))
    door = serve(dr)
    trust = ssl.create_default_context(cadata=door.ca_pem.decode())
    with (
        connect(door, trust) as waiting,
        connect(door, trust) as idle,
        socket.create_connection(("127.0.0.1", door.port), timeout=60) as mute,
    ):
        waiting.sendall(GET_VERSION)
        until(lambda: dr.log)
        door.stop()
        assert waiting.recv(1) == b""
        assert idle.recv(1) == b""
        with suppress(ConnectionResetError):  # nobody had accepted it yet
            assert mute.recv(1) == b""
    with serve(dr, port=door.port):
        pass


def test_a_reset_is_a_reset_on_the_wire(dr):
    """Seen below TLS, because the ssl module may call it an end of file."""
    dr.faults.add(faults.refused())
    with (
        serve(dr) as door,
        socket.create_connection(("127.0.0.1", door.port), timeout=60) as connection,
    ):
        connection.sendall(b"hello")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)

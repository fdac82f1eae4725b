"""The two doors of a cluster: an httpx transport for tests in one process, and a real HTTPS server.

Both show the same world, log and faults. The transport raises the exception that httpx raises when the same
thing happens on a network; with a manual clock it lets the waiting time pass on that clock. It treats each
request as a new connection. It never sleeps for an answer that will not come.

The server gives each connection a thread of its own, TLS handshake included, so a client that connects and
says nothing delays nobody. A reset is a real RST, though Python's ssl module may still report it as an end of
file, which httpx then calls "Server disconnected". The number of a client's port means nothing to the server
(`qq` started by root binds ports below 1024 for localhost, because a real node trusts them).
"""

from __future__ import annotations

import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import responses
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Self

import httpx

from dashboard.simulator.calls import Call
from dashboard.simulator.certificates import Authority, Leaf
from dashboard.simulator.exchange import Pause, Reply, exchange
from dashboard.simulator.faults import Connect, Sees
from dashboard.simulator.world import ManualClock

if TYPE_CHECKING:
    from dashboard.simulator.cluster import Cluster

LARGEST_BODY = 1_000_000


# -- in one process ------------------------------------------------------------------------------------------


def transport(cluster: Cluster) -> httpx.MockTransport:
    """The cluster for `httpx.Client(transport=…)`, whatever host the URL names."""
    clock = cluster.world.clock

    def let_pass(seconds: float) -> None:
        if isinstance(clock, ManualClock):
            clock.pass_time(seconds)

    def handle(request: httpx.Request) -> httpx.Response:
        patience: dict[str, float | None] = request.extensions.get("timeout", {})
        with cluster.world.entered() as now:
            meets = cluster.faults.on_connect(now)
        if meets is Connect.REFUSED:
            raise httpx.ConnectError("[Errno 111] Connection refused", request=request)
        if meets is Connect.HANGS:
            let_pass(patience.get("connect") or 0)
            raise httpx.ConnectTimeout("timed out", request=request)
        left = patience.get("read")  # one read: all waiting before the first byte counts together

        def pause(seconds: float) -> bool:
            nonlocal left
            stays = left is None or seconds < left
            passes = seconds if stays else left or 0
            left = None if left is None else left - passes
            if isinstance(clock, ManualClock):
                clock.pass_time(passes)
            elif passes:
                time.sleep(passes)
            return stays

        target = request.url.raw_path.decode("ascii")
        reply = exchange(cluster, Call(request.method, target, request.headers, request.read()), pause)
        return _respond(request, reply, lambda: let_pass(left or 0))

    return httpx.MockTransport(handle)


def _respond(request: httpx.Request, reply: Reply, wait_in_vain: Callable[[], None]) -> httpx.Response:
    match reply.sees:
        case Sees.CUT:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=request)
        case Sees.RESET:
            raise httpx.ReadError("[Errno 104] Connection reset by peer", request=request)
        case Sees.NOTHING:
            wait_in_vain()
            raise httpx.ReadTimeout("timed out", request=request)
        case Sees.NOT_HTTP:
            raise httpx.RemoteProtocolError("illegal status line", request=request)
        case Sees.HALF_BODY:
            headers = {**reply.headers, "Content-Length": str(len(reply.body))}
            return httpx.Response(reply.status, headers=headers, stream=_Half(request, reply.body))
        case _:
            return httpx.Response(reply.status, headers=reply.headers, content=reply.body)


class _Half(httpx.SyncByteStream):
    def __init__(self, request: httpx.Request, body: bytes) -> None:
        self._request, self._body = request, body

    def __iter__(self) -> Iterator[bytes]:
        yield self._body[: len(self._body) // 2]
        raise httpx.RemoteProtocolError(
            "peer closed connection without sending complete message body", request=self._request
        )


# -- over HTTPS ----------------------------------------------------------------------------------------------

Respond = Callable[[Call, Pause], Reply]
Greet = Callable[[], Connect]


def serve(cluster: Cluster, host: str = "127.0.0.1", port: int = 0, *, leaf: Leaf | None = None) -> Door:
    """Open the cluster's HTTPS door; it is listening when this returns. Port 0 takes a free one."""

    def greet() -> Connect:
        with cluster.world.entered() as now:
            return cluster.faults.on_connect(now)

    def respond(call: Call, pause: Pause) -> Reply:
        return exchange(cluster, call, pause)

    return Door(respond, greet, host, port, leaf or Authority().issue(cluster.name, host))


class Door(socketserver.ThreadingTCPServer):
    """An HTTPS server for one address. Use it in a `with`, or call `stop`."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, respond: Respond, greet: Greet, host: str, port: int, leaf: Leaf) -> None:
        self.respond, self.greet = respond, greet
        self.ca_pem, self.fingerprint = leaf.ca_pem, leaf.fingerprint
        self._context = leaf.context()
        self._stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__((host, port), _Conversation)
        self.port: int = self.server_address[1]
        self.url = f"https://{host}:{self.port}"
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.1}, name=f"door {self.port}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close the port and hang up on everybody; return when no connection is left."""
        self._stopping.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
        self._hang_up_on_all()
        with self._changed:
            self._changed.wait_for(lambda: not self._open, timeout=5)

    def show(self, leaf: Leaf) -> None:
        """From now on this certificate; whoever is connected has to come again."""
        self._context = leaf.context()
        self._hang_up_on_all()

    def _hang_up_on_all(self) -> None:
        with self._changed:
            for connection in self._open:
                _hang_up(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def pause(self, seconds: float) -> bool:
        """Wait, but not beyond the door's own life. A client that leaves meanwhile is not noticed, as on a cluster."""
        if seconds > 0:
            self._stopping.wait(seconds)
        return True

    def finish_request(self, request: Any, client_address: Any) -> None:
        """One connection in its own thread: greeting, handshake, then requests until somebody closes."""
        plain: socket.socket = request
        with self._known(plain):
            match self.greet():
                case Connect.HANGS:
                    wait_for_the_end(plain)
                    return
                case Connect.REFUSED:
                    # Not before the client has begun its handshake: a socket that is reset earlier is leaked
                    # by Python's ssl module, and the client's test fails for a warning.
                    plain.recv(1)
                    reset_on_close(plain)
                    plain.close()
                    return
                case Connect.OPENS:
                    pass
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        with self._known(connection), connection:
            connection.do_handshake()
            _Conversation(connection, client_address, self)

    @contextmanager
    def _known(self, connection: socket.socket) -> Iterator[None]:
        """While this lasts, `stop` hangs the connection up and waits for it."""
        with self._changed:
            self._open.add(connection)
            if self._stopping.is_set():
                _hang_up(connection)
        try:
            yield
        finally:
            with self._changed:
                self._open.discard(connection)
                self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may go away at any moment, in the handshake too; anything else is a defect and is printed."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _hang_up(connection: socket.socket) -> None:
    # The plain socket's own shutdown: that of SSLSocket would take the TLS state away from the thread that
    # is reading, which then fails with something else than an end of file.
    with suppress(OSError):  # it has gone by itself
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def wait_for_the_end(connection: socket.socket) -> None:
    """Read and forget until the client gives up."""
    while connection.recv(65536):
        pass


def reset_on_close(connection: socket.socket) -> None:
    """Closing sends RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class _Conversation(BaseHTTPRequestHandler):
    """Requests and answers on one open connection (HTTP/1.1, kept alive)."""

    server: Door
    connection: socket.socket
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or len(self.raw_requestline) > 65536:
            self.close_connection = True
            return
        if not self.parse_request():
            return
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal() or int(length) > LARGEST_BODY:
            self.close_connection = True
            self._say(Reply(Sees.ANSWER, HTTPStatus.LENGTH_REQUIRED))
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):  # the client died in the middle of it: nobody processes half a request
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.respond(Call(self.command, self.path, headers, body), self.server.pause)
        if reply.sees is not Sees.ANSWER:
            self.close_connection = True
        match reply.sees:
            case Sees.CUT:
                pass
            case Sees.RESET:
                reset_on_close(self.connection)
            case Sees.NOTHING:
                wait_for_the_end(self.connection)
            case Sees.NOT_HTTP:
                self.connection.sendall(reply.body)
            case _:
                self._say(reply)

    def _say(self, reply: Reply) -> None:
        """Head and body in one write, so that they leave in one packet."""
        head = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, '')}"]
        head += [f"{name}: {value}" for name, value in reply.headers.items()]
        head.append(f"Content-Length: {len(reply.body)}")
        if self.close_connection and reply.sees is Sees.ANSWER:
            head.append("Connection: close")
        body = reply.body
        if self.command == "HEAD":
            body = b""
        elif reply.sees is Sees.HALF_BODY:
            body = body[: len(body) // 2]
        self.connection.sendall("\r\n".join([*head, "", ""]).encode("latin-1") + body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the standard library's
        """The cluster's own log is the record; nothing goes to stderr."""

"""The last metre before the socket, for every byte that goes to a cluster.

What this room guarantees, whatever the layers above do:

* No call outlasts its deadline. It runs on CLOCK_BOOTTIME, which also counts while the machine sleeps, and it is asked
  before each read and write: timeouts per read, as HTTP clients have them, never fire on a server that sends a byte
  now and then.
* A connection is made only to an address that `AddressRule` lets pass, checked on the address that the name resolved to
  and that is then dialled. With a pinned certificate the peer's must be equal to it before anything is sent.
* The send window of a request that changes something is checked in the line before its first byte: when it is over,
  `TooLate` is raised and the cluster has not seen a byte of it.
* A request that must go over the connection that is there (`limit`) opens no other: whoever answers at the address now
  may be another than the one that was asked who it is.
* What was written and not acknowledged is dropped by the kernel after `unacknowledged` seconds (TCP_USER_TIMEOUT), also
  when this process has been killed: a dead sender's request does not arrive minutes later, when the network heals.

Limit: a name is resolved by the C library, which cannot be interrupted. The call gives up in time; the lookup
ends by itself, in a thread that is shared by all who ask for the same name.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from dashboard.qumulo.addresses import AddressRule
from dashboard.qumulo.errors import AddressRefused, CannotConnect, CertificateRefused, TooLate

UNACKNOWLEDGED = 10.0
_SOCKET_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2),
)


def boottime() -> float:
    """Seconds since the machine started, those it slept included. The clock of deadlines and send windows."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def split(url: str) -> tuple[str, int]:
    """Host and port of a URL in the form of `addresses.parse_url`."""
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 0)


def dial(
    host: str, port: int, *, addresses: AddressRule, by: float, unacknowledged: float = UNACKNOWLEDGED
) -> httpcore.NetworkStream:
    """A TCP connection to one of the host's allowed addresses, made before `by` (boottime). Each address has
    its share of the time, so that one dead node does not hide the others. `unacknowledged`: seconds for which the
    kernel goes on delivering what was written, whoever lives. Raises AddressRefused or CannotConnect."""
    options = (*_SOCKET_OPTIONS, (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unacknowledged * 1000)))
    found = _resolve(host, port, by=by)
    refusals = {address: addresses.refusal(address) for address in found}
    allowed = [address for address in found if refusals[address] is None]
    if not allowed:
        raise AddressRefused(next(refusal for refusal in refusals.values() if refusal))
    failure = "no time was left"
    while allowed and (left := by - boottime()) > 0:
        address, share = allowed.pop(0), left / (len(allowed) + 1)
        try:
            return httpcore.SyncBackend().connect_tcp(address, port, share, socket_options=options)
        except httpcore.ConnectTimeout:
            failure = "nothing answered in time"
        except httpcore.ConnectError as error:
            failure = _reason(error)
    raise CannotConnect(f"No connection to {host} port {port}: {failure}.")


def handshake(
    stream: httpcore.NetworkStream, context: ssl.SSLContext, host: str, *, by: float, pin: bytes | None = None
) -> httpcore.NetworkStream:
    """TLS on a fresh connection, done before `by`. Raises CertificateRefused or CannotConnect, the stream
    closed."""
    try:
        encrypted = stream.start_tls(context, host, max(by - boottime(), 0.001))
    except httpcore.ConnectTimeout:
        raise CannotConnect(f"{host} did not finish the TLS handshake in time.") from None
    except httpcore.ConnectError as error:
        if isinstance(error.__cause__, ssl.SSLCertVerificationError):
            why = error.__cause__.verify_message.rstrip(".")
            raise CertificateRefused(f"The certificate of {host} is not trusted: {why}.") from None
        raise CannotConnect(f"{host} does not speak TLS: {_reason(error)}.") from None
    # A pinned certificate that may itself issue others would vouch for those; only this one is meant.
    if pin is not None and peer_certificate(encrypted) != pin:
        encrypted.close()
        raise CertificateRefused(f"The certificate of {host} is not the one that is pinned.")
    return encrypted


def peer_certificate(stream: httpcore.NetworkStream) -> bytes:
    """The certificate that the other side of an encrypted stream showed, as DER."""
    certificate: bytes | None = stream.get_extra_info("socket").getpeercert(binary_form=True)
    return certificate or b""


def _reason(error: Exception) -> str:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLError):
        return str(cause.reason or "the handshake failed").lower().replace("_", " ")
    return (cause.strerror or "the connection was cut").lower() if isinstance(cause, OSError) else "it failed"


_lookups: dict[tuple[str, int], Future[list[str]]] = {}
_lookups_lock = threading.Lock()


def _resolve(host: str, port: int, *, by: float) -> list[str]:
    """The numeric addresses of a host, in the resolver's order, each once."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    with _lookups_lock:
        lookup = _lookups.get((host, port))
        if lookup is None:
            lookup = Future()
            threading.Thread(target=_look_up, args=(host, port, lookup), daemon=True).start()
            _lookups[host, port] = lookup
    try:
        return lookup.result(timeout=max(by - boottime(), 0))
    except TimeoutError:
        raise CannotConnect(f"The name {host} could not be resolved in time.") from None
    except (OSError, UnicodeError):
        raise CannotConnect(f"The name {host} could not be resolved.") from None


def _look_up(host: str, port: int, lookup: Future[list[str]]) -> None:
    addresses: list[str] = []
    failure: Exception | None = None
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in answers))
    except Exception as error:  # noqa: BLE001 - it is raised in whoever waits for the result
        failure = error
    with _lookups_lock:
        del _lookups[host, port]
    if failure is None:
        lookup.set_result(addresses)
    else:
        lookup.set_exception(failure)


class Wire(httpcore.NetworkBackend):
    """The network under one client. `limit` says what holds for the request that is about to be made; one at
    a time."""

    def __init__(self, *, addresses: AddressRule, pin: bytes | None, unacknowledged: float = UNACKNOWLEDGED) -> None:
        self._addresses = addresses
        self._unacknowledged = unacknowledged
        self._pin = pin
        self._deadline = 0.0
        self._send_by: float | None = None
        self._connect_by = 0.0
        self._written = False
        self._bound = False

    def limit(self, *, deadline: float, send_by: float | None = None, bound: bool = False) -> None:
        """Both on the clock of `boottime`. `send_by` is the end of the send window of a request that changes
        things; `bound`: it goes over the connection that is there, or not at all."""
        self._deadline, self._send_by, self._written = deadline, send_by, False
        self._bound = bound

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - httpcore's signature
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        if self._bound:
            raise CannotConnect("The connection over which the cluster was checked is gone.")
        now = boottime()
        by = self._deadline if timeout is None else min(self._deadline, now + timeout)
        stream = dial(host, port, addresses=self._addresses, by=by, unacknowledged=self._unacknowledged)
        return _Stream(stream, self, connect_by=by, pin=self._pin)

    def before_read(self) -> float:
        """Seconds until the deadline. Raises httpcore.ReadTimeout when there are none left."""
        left = self._deadline - boottime()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left

    def before_write(self) -> float:
        """Called in the line before bytes go out; returns the seconds that are left for it. Raises TooLate instead of
        letting the first byte go after its time, httpcore.WriteTimeout when the deadline passes later."""
        now = boottime()
        left = self._deadline - now
        if not self._written and (left <= 0 or (self._send_by is not None and now >= self._send_by)):
            raise TooLate("The time for sending was over before the first byte.")
        if left <= 0:
            raise httpcore.WriteTimeout
        self._written = True
        return left


class _Stream(httpcore.NetworkStream):
    """One connection of a `Wire`. It outlives single requests, so it asks the wire for the limits of the
    present one."""

    def __init__(self, inner: httpcore.NetworkStream, wire: Wire, *, connect_by: float, pin: bytes | None) -> None:
        self._inner = inner
        self._wire = wire
        self._connect_by = connect_by
        self._pin = pin

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        del timeout
        return self._inner.read(max_bytes, self._wire.before_read())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout  # the deadline is the only limit
        if buffer:
            self._inner.write(buffer, self._wire.before_write())

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        del timeout  # connecting and handshake share one budget, which began when the connection did
        host = server_hostname or ""
        encrypted = handshake(self._inner, ssl_context, host, by=self._connect_by, pin=self._pin)
        return _Stream(encrypted, self._wire, connect_by=self._connect_by, pin=self._pin)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class WireTransport(httpx.HTTPTransport):
    """httpx over a `Wire`: HTTP/1.1, one connection, kept while the client lives."""

    def __init__(self, wire: Wire, context: ssl.SSLContext) -> None:
        super().__init__(verify=context, trust_env=False)
        # httpx does not let its caller choose httpcore's network backend; both are pinned, and the tests of
        # deadline and send window fail if this stops being the pool that is used.
        self._pool = httpcore.ConnectionPool(
            ssl_context=context, max_connections=1, network_backend=wire, http1=True, http2=False
        )

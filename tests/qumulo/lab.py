"""A bench for the client: certificates, and a TLS server on loopback that behaves as badly as a test wants.

A behaviour is a function that gets each connection in turn. It reads requests and answers, or does not. Whatever it
leaves open is closed when the test ends, and it never sleeps blindly: `Connection.pause` ends early with the test.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import json
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dashboard.qumulo.addresses import AddressRule
from dashboard.qumulo.client import Deadlines, QumuloClient
from dashboard.qumulo.trust import Trust

LOOPBACK = AddressRule(["127.0.0.0/8"])
ID = "23fa5196-cca8-4692-8e96-2a8d65186c29"
SOURCE = "7ea26661-0796-409c-a440-330757c26816"
TARGET = "dc611450-c2ba-4073-99a1-4999778f222d"
TOKEN = "access-v1:canary-token-never-to-be-seen=="


def row(**changes: Any) -> dict[str, Any]:
    """A target status in the form that was published from a real cluster after a failover, with changes."""
    return {
        "id": ID,
        "state": "DISCONNECTED",
        "end_reason": "",
        "source_cluster_name": "qwhat",
        "source_cluster_uuid": SOURCE,
        "source_root_path": "/snap_replication/",
        "source_root_read_only": False,
        "source_address": None,
        "source_port": None,
        "target_cluster_name": "qwho",
        "target_cluster_uuid": TARGET,
        "target_root_path": "/snap_replication/",
        "target_root_read_only": False,
        "job_state": "REPLICATION_NOT_RUNNING",
        "job_start_time": "",
        "recovery_point": "2025-04-22T15:10:00.00023319Z",
        "error_from_last_job": "",
        "duration_of_last_job": {"nanoseconds": "51844430"},
        "target_root_id": "62",
        "replication_enabled": True,
        "replication_job_status": None,
        "recovery_point_snapshot": {"id": 88831, "name": "revert_to_37140_for_qwhat"},
        "lock_key": None,
    } | changes


# ── Certificates ─────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Issued:
    """A certificate with its key; `pem` is the certificate alone."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def issue(
    name: str, *, by: Issued | None = None, authority: bool = False, host: str = "127.0.0.1", days: int = 30
) -> Issued:
    """`by` None: self-signed. `days` may be negative: it has ended."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    end = datetime.now(UTC) + timedelta(days=days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=60))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
    )
    return Issued(builder.sign(by.key if by else key, hashes.SHA256()), key)


@functools.cache
def authority() -> Issued:
    return issue("Laboratory authority", authority=True)


@functools.cache
def leaf() -> Issued:
    return issue("qumulo", by=authority())


# ── The server ───────────────────────────────────────────────────────────────


class Connection:
    """The server's end of one connection, after the handshake."""

    def __init__(self, tls: ssl.SSLSocket, server: Server) -> None:
        self._tls = tls
        self._server = server

    def request(self) -> bytes:
        """The next request, head and body; b"" when the client went away. Recorded before it is returned."""
        data = b""
        while b"\r\n\r\n" not in data:
            part = self._tls.recv(65536)
            self._server.received += part
            if not part:
                return b""
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        missing = (int(lengths[0].split(b":")[1]) if lengths else 0) - len(body)
        while missing > 0 and (part := self._tls.recv(missing)):
            data, missing = data + part, missing - len(part)
        self._server.requests.append(data)
        return data

    def send(self, data: bytes) -> None:
        self._tls.sendall(data)

    def answer(
        self, body: object = None, *, status: str = "200 OK", headers: str = "", raw: bytes | None = None
    ) -> None:
        data = json.dumps(body).encode() if raw is None else raw
        self.send(f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n{headers}\r\n".encode() + data)

    def reset(self) -> None:
        """Close so that the other side sees a reset, not an end."""
        self._tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._tls.close()

    def end(self) -> None:
        """Close it, properly and without a word before."""
        self._tls.shutdown(socket.SHUT_RDWR)
        self._tls.close()

    def pause(self, seconds: float) -> bool:
        """True while the test still runs."""
        return not self._server.over.wait(seconds)

    def wait_until_over(self) -> None:
        self._server.over.wait(60)


Behaviour = Callable[[Connection], None]


@dataclass
class Server:
    url: str = ""
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    received: bytes = b""  # every decrypted byte, whole requests or not
    connections: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def posts(self) -> int:
        return sum(request.startswith(b"POST ") for request in self.requests)


@contextlib.contextmanager
def serving(
    *behaviours: Behaviour, certificate: Issued | None = None, before_handshake: Callable[[], None] | None = None
) -> Iterator[Server]:
    """A TLS server on loopback. The n-th connection gets the n-th behaviour, later ones the last."""
    shown = certificate or leaf()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(shown.pem + shown.key_pem)
        file.flush()
        context.load_cert_chain(Path(file.name))
    server = Server()
    listener = socket.create_server(("127.0.0.1", 0))
    server.port = listener.getsockname()[1]
    server.url = f"https://127.0.0.1:{server.port}"
    threads: list[threading.Thread] = []
    open_sockets: list[socket.socket] = []

    def handle(raw: socket.socket, behaviour: Behaviour) -> None:
        with contextlib.suppress(OSError):
            if before_handshake:
                before_handshake()
            tls = context.wrap_socket(raw, server_side=True)
            open_sockets.append(tls)
            with tls:
                behaviour(Connection(tls, server))
        raw.close()

    def accept() -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            raw.settimeout(30)
            open_sockets.append(raw)
            behaviour = behaviours[min(server.connections, len(behaviours) - 1)]
            server.connections += 1
            thread = threading.Thread(target=handle, args=(raw, behaviour), daemon=True)
            threads.append(thread)
            thread.start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield server
    finally:
        server.over.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(10)
        for each in open_sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)
        for each in open_sockets:
            each.close()


def client(server: Server, **changes: Any) -> QumuloClient:
    """A client as the product builds one, for a server of this bench."""
    settings: dict[str, Any] = {
        "trust": Trust.ca(authority().pem),
        "addresses": LOOPBACK,
        "token": TOKEN,
        "deadlines": Deadlines(connect=20, read=20, list=20, post=20),
    }
    return QumuloClient(server.url, **settings | changes)


def always(*answers: Callable[[Connection], None]) -> Behaviour:
    """Answer one request after the other on one connection, the last answer for ever."""

    def behave(connection: Connection) -> None:
        count = 0
        while connection.request():
            answers[min(count, len(answers) - 1)](connection)
            count += 1

    return behave


def giving(body: object, **how: Any) -> Callable[[Connection], None]:
    return lambda connection: connection.answer(body, **how)

"""Which certificate makes a machine the cluster that is meant, decided in the TLS handshake, before a token
is sent.

Two ways. `Trust.ca`: a certificate issued by one of these authorities, for the host in the URL; the system's
authorities are not asked. `Trust.pinned`: this one certificate and no other, whatever name it bears (clusters
come with self-signed ones). There is no third way and no switch for none.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from dashboard.qumulo import wire
from dashboard.qumulo.addresses import AddressRule, parse_url


@dataclass(frozen=True, slots=True)
class Trust:
    """`pem` holds certificates only, also when the file that was given held a private key too."""

    pem: str = field(repr=False)
    pin: bytes | None = field(default=None, repr=False)  # DER of the one certificate that is accepted

    @classmethod
    def ca(cls, pem: str) -> Trust:
        """Raises ValueError with a sentence when there is no certificate in `pem`."""
        return cls(_encode(_certificates(pem)))

    @classmethod
    def pinned(cls, pem: str) -> Trust:
        """Raises ValueError with a sentence when there is not exactly one certificate in `pem`."""
        found = _certificates(pem)
        if len(found) != 1:
            raise ValueError(f"One certificate can be pinned, not {len(found)}.")
        return cls(_encode(found), found[0].public_bytes(Encoding.DER))

    def context(self) -> ssl.SSLContext:
        """A new context each time: it takes 0.2 ms (the system's bundle, which is slow to load, is not in
        it), and httpcore changes the context at each connect, which threads must not do to a shared one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(cadata=self.pem)
        # Every certificate of the file is an anchor: a pinned leaf, and an issuing authority without its
        # root.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.check_hostname = self.pin is None
        return context


def fetch_certificate(url: str, addresses: AddressRule, timeout: float) -> str:
    """The certificate, as PEM, that the machine at `url` shows; for a person to compare, it proves nothing
    yet.

    A handshake and nothing more: no request is sent. Raises CannotConnect or AddressRefused; ValueError for a
    bad URL.
    """
    host, port = wire.split(parse_url(url))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    by = wire.boottime() + timeout
    stream = wire.dial(host, port, addresses=addresses, by=by)
    try:
        stream = wire.handshake(stream, context, host, by=by)
        return ssl.DER_cert_to_PEM_cert(wire.peer_certificate(stream))
    finally:
        stream.close()


def fingerprint(pem: str) -> str:
    """SHA-256 of the first certificate in `pem`, as browsers and `openssl x509 -fingerprint -sha256` write
    it."""
    digest = hashlib.sha256(_certificates(pem)[0].public_bytes(Encoding.DER)).hexdigest().upper()
    return ":".join(re.findall("..", digest))


def parse_fingerprint(text: str) -> str:
    """A SHA-256 fingerprint in any usual writing → the writing of `fingerprint`. ValueError with a
    sentence."""
    digits = re.sub(r"^sha-?256(\s+fingerprint)?\s*[:=]", "", text.strip(), flags=re.IGNORECASE)
    digits = re.sub(r"[\s:]", "", digits).upper()
    if not re.fullmatch("[0-9A-F]{64}", digits):
        raise ValueError("A SHA-256 fingerprint has 64 hexadecimal digits, with or without colons.")
    return ":".join(re.findall("..", digits))


def ends_at(pem: str) -> datetime:
    """When the first of the certificates in `pem` to end does so, in UTC."""
    return min(certificate.not_valid_after_utc for certificate in _certificates(pem))


def _certificates(pem: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise ValueError("There is no certificate in PEM form in it.") from None


def _encode(certificates: list[x509.Certificate]) -> str:
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)

"""Certificates against real handshakes: the wrong one is refused before the server has seen a byte of a request."""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from dashboard.qumulo.addresses import AddressRule
from dashboard.qumulo.errors import AddressRefused, CannotConnect, CertificateRefused, Effect
from dashboard.qumulo.trust import Trust, ends_at, fetch_certificate, fingerprint, parse_fingerprint
from dashboard.qumulo.wire import boottime
from tests.qumulo.lab import ID, LOOPBACK, Issued, always, authority, client, giving, issue, leaf, row, serving


def self_signed() -> Issued:
    return issue("qumulo", authority=True)


def by_a_middle_authority() -> tuple[Issued, Trust]:
    middle = issue("Middle", by=authority(), authority=True)
    return issue("qumulo", by=middle), Trust.ca(middle.pem)


def pinned_for_another_name() -> tuple[Issued, Trust]:
    own = issue("qumulo", host="192.0.2.1")
    return own, Trust.pinned(own.pem)


Case = Callable[[], tuple[Issued, Trust]]
ACCEPTED: dict[str, Case] = {
    "issued by the authority": lambda: (leaf(), Trust.ca(authority().pem)),
    "issued by an authority whose root is not given": by_a_middle_authority,
    "pinned, self-signed, for another name": pinned_for_another_name,
    "pinned, issued by an authority": lambda: (leaf(), Trust.pinned(leaf().pem)),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_the_certificate_that_is_meant_is_accepted(case):
    shown, trust = ACCEPTED[case]()
    with serving(always(giving(row())), certificate=shown) as server, client(server, trust=trust) as cluster:
        assert cluster.target_status(ID).id == ID


def issued_by_the_pinned() -> tuple[Issued, Trust]:
    """A self-signed certificate that may issue others, as `openssl req -x509` makes it by default."""
    own = self_signed()
    return issue("impostor", by=own), Trust.pinned(own.pem)


REFUSED: dict[str, Case] = {
    "self-signed, against an authority": lambda: (self_signed(), Trust.ca(authority().pem)),
    "another authority": lambda: (issue("q", by=self_signed()), Trust.ca(authority().pem)),
    "another host": lambda: (issue("q", by=authority(), host="192.0.2.1"), Trust.ca(authority().pem)),
    "ended": lambda: (issue("q", by=authority(), days=-1), Trust.ca(authority().pem)),
    "another self-signed than the pinned": lambda: (self_signed(), Trust.pinned(self_signed().pem)),
    "another leaf of the pinned one's authority": lambda: (issue("q", by=authority()), Trust.pinned(leaf().pem)),
    "issued by the pinned one": issued_by_the_pinned,
}


@pytest.mark.parametrize("case", REFUSED)
def test_any_other_certificate_is_refused_before_the_token_is_sent(case):
    shown, trust = REFUSED[case]()
    with serving(always(giving(row())), certificate=shown) as server, client(server, trust=trust) as cluster:
        with pytest.raises(CertificateRefused) as read:
            cluster.target_status(ID)
        with pytest.raises(CertificateRefused) as written:
            cluster.make_writable(ID, send_by=boottime() + 60)
    assert server.connections == 2
    assert server.received == b""
    assert {read.value.effect, written.value.effect} == {Effect.ABSENT}
    assert "certificate" in written.value.words


def test_old_tls_and_the_system_authorities_do_not_count():
    context = Trust.ca(authority().pem).context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.cert_store_stats()["x509"] == 1  # the system's authorities are not in it


def test_a_certificate_is_fetched_for_comparison_without_sending_anything():
    own = self_signed()
    with serving(always(giving(row())), certificate=own) as server:
        pem = fetch_certificate(server.url, LOOPBACK, timeout=20)
        assert server.received == b""
    assert ssl.PEM_cert_to_DER_cert(pem) == ssl.PEM_cert_to_DER_cert(own.pem)
    assert fingerprint(pem) == fingerprint(own.pem)


def test_a_certificate_is_fetched_only_from_where_clusters_may_be():
    with serving(always(giving(row()))) as server, pytest.raises(AddressRefused):
        fetch_certificate(server.url, AddressRule(), timeout=20)
    assert server.connections == 0


def test_fetching_from_nowhere_says_so():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(CannotConnect, match="connection refused"):
        fetch_certificate(f"https://127.0.0.1:{port}", LOOPBACK, timeout=20)


def test_a_private_key_in_the_file_is_not_kept():
    own = self_signed()
    for made in (Trust.ca(own.key_pem + own.pem), Trust.pinned(own.pem + own.key_pem)):
        assert "PRIVATE" not in made.pem
        assert made.pem.count("BEGIN CERTIFICATE") == 1
        assert "BEGIN" not in repr(made)


@pytest.mark.parametrize("make", [Trust.ca, Trust.pinned, fingerprint, ends_at])
@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_without_a_certificate_is_refused(make, text):
    with pytest.raises(ValueError, match="no certificate"):
        make(text)


def test_two_certificates_cannot_be_pinned_as_one():
    with pytest.raises(ValueError, match="not 2"):
        Trust.pinned(leaf().pem + authority().pem)


def test_a_fingerprint_is_sha256_in_the_usual_writing():
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf().pem)).hexdigest()
    shown = fingerprint(leaf().pem)
    assert shown == ":".join(digest[i : i + 2] for i in range(0, 64, 2)).upper()
    for text in (shown, digest, f" {shown.lower()} ", shown.replace(":", " "), f"SHA256 Fingerprint={shown}"):
        assert parse_fingerprint(text) == shown
    assert parse_fingerprint(f"sha256:{digest}") == shown


@pytest.mark.parametrize("bad", ["", "AB:CD", "z" * 64, "a" * 63, "a" * 65, "a" * 40])
def test_what_is_no_sha256_fingerprint_is_refused(bad):
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        parse_fingerprint(bad)


def test_the_first_end_of_several_counts():
    soon, late = issue("a", days=3), issue("b", days=300)
    assert ends_at(late.pem + soon.pem) == soon.certificate.not_valid_after_utc
    assert ends_at(soon.pem) - datetime.now(UTC) < timedelta(days=4)

"""Where a cluster may be."""

from __future__ import annotations

import pytest

from dashboard.qumulo.addresses import AddressRule, parse_url

ANYWHERE = AddressRule()


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.0.9", "172.16.4.4", "100.64.0.1", "8.8.8.8", "fd12::1"])
def test_clusters_may_be_on_private_and_public_addresses(address):
    assert ANYWHERE.refusal(address) is None


NEVER = [
    "169.254.169.254",
    "fe80::1",
    "fe80::1%eth0",
    "0.0.0.0",  # noqa: S104
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "239.255.255.250",
    "ff02::1",
    "255.255.255.255",
    "64:ff9b::169.254.169.254",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
    "::10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "fd00:ec2::254",
    "100.100.100.200",
]


@pytest.mark.parametrize("address", NEVER)
def test_metadata_groups_and_disguised_addresses_are_refused_also_when_listed(address):
    assert ANYWHERE.refusal(address)
    assert AddressRule(["0.0.0.0/0", "::/0"]).refusal(address)
    assert AddressRule(["169.254.0.0/16", "64:ff9b::/96", "fe80::/10", "100.100.0.0/16"]).refusal(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_refused_unless_it_is_listed_itself(address):
    assert "this machine" in (ANYWHERE.refusal(address) or "")
    assert AddressRule(["0.0.0.0/0", "::/0"]).refusal(address)
    assert AddressRule(["10.0.0.0/8"]).refusal(address)
    assert AddressRule(["127.0.0.0/8", "::1/128"]).refusal(address) is None


def test_a_listed_part_of_loopback_opens_that_part_only():
    rule = AddressRule(["127.0.0.1/32"])
    assert rule.refusal("127.0.0.1") is None
    assert rule.refusal("127.0.0.2")
    assert rule.refusal("10.0.0.1")


def test_a_list_closes_everything_else():
    rule = AddressRule(["10.20.0.0/16", "fd12::/16"])
    assert rule.refusal("10.20.3.4") is None
    assert rule.refusal("::ffff:10.20.3.4") is None
    assert rule.refusal("fd12::7") is None
    assert rule.refusal("10.21.0.1")
    assert rule.refusal("8.8.8.8")


@pytest.mark.parametrize("bad", ["10.0.0.1/8", "10.0.0.0/33", "example.com", ""])
def test_a_network_that_cannot_be_read_is_named(bad):
    with pytest.raises(ValueError, match="is not a network"):
        AddressRule([bad])


def test_what_is_no_address_is_refused():
    assert ANYWHERE.refusal("example.com")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://dr-west.example", "https://dr-west.example:8000"),
        ("  HTTPS://DR-West.Example:8443/ ", "https://dr-west.example:8443"),
        ("https://10.1.2.3", "https://10.1.2.3:8000"),
        ("https://[fd12::7]:9000", "https://[fd12::7]:9000"),
        ("https://localhost:443", "https://localhost:443"),
    ],
)
def test_an_address_is_brought_to_one_form(text, url):
    assert parse_url(text) == url
    assert parse_url(url) == url


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("http://dr-west:8000", "must begin with https"),
        ("dr-west:8000", "must begin with https"),
        ("ftp://dr-west", "must begin with https"),
        ("https://admin:pw@dr-west", "user or password"),
        ("https://admin@dr-west", "user or password"),
        ("https://@dr-west", "user or password"),
        ("https://dr-west/api", "without a path"),
        ("https://dr-west//", "without a path"),
        ("https://dr-west?x=1", "without a path"),
        ("https://dr-west/?", "without a path"),
        ("https://dr-west#x", "without a path"),
        ("https://", "does not name a host"),
        ("https://:8000", "does not name a host"),
        ("https://dr-west:0", "does not name a host"),
        ("https://dr-west:99999", "is not an address"),
        ("https://dr-west:abc", "is not an address"),
        ("https://[fd12::7", "is not an address"),
        ("https://[fe80::1%25eth0]", "does not name a host"),
        ("https://2130706433", "does not name a host"),
        ("https://0x7f000001", "does not name a host"),
        ("https://127.1", "does not name a host"),
        ("https://dr..west", "does not name a host"),
        ("https://-dr", "does not name a host"),
        ("https://dr_west%2e", "does not name a host"),
        ("https://dr-west\\@evil", "plain characters"),
        ("https://dr west", "plain characters"),
        ("https://dr-wést", "plain characters"),
        ("https://dr-west\nx", "plain characters"),
        ("", "plain characters"),
    ],
)
def test_whatever_else_an_address_holds_is_refused_with_a_sentence(text, why):
    with pytest.raises(ValueError, match=why):
        parse_url(text)

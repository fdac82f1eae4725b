"""The verbs against a real TLS server: what goes out, what comes back, and on which connection."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import httpx
import pytest

from dashboard.qumulo.client import Deadlines, NodeState, QumuloClient
from dashboard.qumulo.errors import Nonsense, NotSent
from dashboard.qumulo.records import parse_target_status
from dashboard.qumulo.trust import Trust
from dashboard.qumulo.wire import boottime
from tests.qumulo.lab import ID, LOOPBACK, TARGET, TOKEN, always, authority, client, giving, row, serving


def soon() -> float:
    return boottime() + 60


def head(request: bytes) -> list[str]:
    return request.partition(b"\r\n\r\n")[0].decode().split("\r\n")


def test_it_reads_version_identity_and_name():
    answers = (
        giving({"build_id": "341775.1.14", "revision_id": "Qumulo Core 7.8.0"}),
        giving({"cluster_id": TARGET, "node_id": 1, "state": "ACTIVE"}),
        giving({"cluster_name": "dr-west"}),
    )
    with serving(always(*answers)) as server, client(server) as cluster:
        assert cluster.version() == "7.8.0"
        assert cluster.node_state() == NodeState(TARGET, 1, "ACTIVE")
        assert cluster.cluster_name() == "dr-west"
    assert [head(request)[0] for request in server.requests] == [
        "GET /v1/version HTTP/1.1",
        "GET /v1/node/state HTTP/1.1",
        "GET /v1/cluster/settings HTTP/1.1",
    ]


def test_it_says_whose_token_it_is_and_what_it_may():
    answer = giving({"name": "desk", "privileges": ["PRIVILEGE_REPLICATION_TARGET_READ"], "access_token_id": 17})
    with serving(always(answer)) as server, client(server) as cluster:
        found = cluster.who_am_i()
    assert found.name == "desk"
    assert found.privileges == frozenset({"PRIVILEGE_REPLICATION_TARGET_READ"})
    assert found.access_token_id == "17"


def test_it_logs_in_with_one_post_and_returns_the_token():
    with serving(always(giving({"bearer_token": "session-v1:abc"}))) as server, client(server, token=None) as cluster:
        assert cluster.login("admin", "geheim") == "session-v1:abc"
    (request,) = server.requests
    assert json.loads(request.partition(b"\r\n\r\n")[2]) == {"username": "admin", "password": "geheim"}
    assert b"authorization" not in request.lower()


def test_it_lists_rows_keeps_the_unreadable_ones_apart_and_tells_the_cluster_clock():
    body = [row(), row(id="bad-1", target_root_read_only="false"), "nonsense"]
    headers = "Date: Mon, 23 Nov 2026 07:00:00 GMT\r\n"
    with serving(always(giving(body, headers=headers))) as server, client(server) as cluster:
        found = cluster.target_statuses()
    assert found.rows == (parse_target_status(row()),)
    assert [(bad.id, bad.why) for bad in found.unreadable] == [
        ("bad-1", "target_root_read_only is neither true nor false."),
        (None, "The row is not an object."),
    ]
    assert found.date == datetime(2026, 11, 23, 7, tzinfo=UTC)
    assert head(server.requests[0])[0] == "GET /v2/replication/target-relationships/status/ HTTP/1.1"


def test_it_lists_the_source_side():
    source = {"id": ID, "replication_mode": "REPLICATION_CONTINUOUS", "queued_snapshot_count": "3"}
    with serving(always(giving([source, {"id": "../x"}]))) as server, client(server) as cluster:
        found = cluster.source_statuses()
    assert [(each.id, each.replication_mode, each.queued_snapshot_count) for each in found.rows] == [
        (ID, "REPLICATION_CONTINUOUS", 3)
    ]
    assert [each.id for each in found.unreadable] == [None]
    assert head(server.requests[0])[0] == "GET /v2/replication/source-relationships/status/ HTTP/1.1"


def test_it_refuses_an_answer_about_another_relationship():
    with serving(always(giving(row(id="other")))) as server, client(server) as cluster, pytest.raises(Nonsense):
        cluster.target_status(ID)
    assert len(server.requests) == 1


def test_an_id_that_could_bend_the_path_never_leaves():
    with serving(always(giving(row()))) as server, client(server) as cluster:
        for bad in ("../x", "a/b", "a?b", "a%2fb", "", "x" * 65, "a\n"):
            with pytest.raises(NotSent):
                cluster.make_writable(bad, send_by=soon())
            with pytest.raises(NotSent):
                cluster.target_status(bad)
    assert server.connections == 0


def test_make_writable_goes_over_the_connection_that_the_status_came_on():
    answers = (giving(row(state="ESTABLISHED", target_root_read_only=True)), giving(row(state="DISCONNECTING")))
    with serving(always(*answers)) as server, client(server) as cluster:
        assert cluster.target_status(ID).state == "ESTABLISHED"
        accepted = cluster.make_writable(ID, send_by=soon())
    assert (accepted.http_status, accepted.status.state) == (200, "DISCONNECTING")
    assert accepted.seconds >= 0
    assert server.connections == 1
    request, body = server.requests[1].split(b"\r\n\r\n")
    assert body == b""
    lines = head(request)
    assert lines[0] == f"POST /v2/replication/target-relationships/{ID}/make-writable HTTP/1.1"
    sent = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines[1:]}
    assert sent == {
        "host": f"127.0.0.1:{server.port}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "user-agent": "failover-desk",
        "authorization": f"Bearer {TOKEN}",
        "content-length": "0",
    }


def test_proxies_and_passwords_of_the_environment_are_not_read(monkeypatch, tmp_path):
    """A proxy would see, hold back or repeat a make-writable."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password eve\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with serving(always(giving(row()))) as server, client(server, token=None) as cluster:
        assert cluster.target_status(ID).id == ID
    assert b"authorization" not in server.requests[0].lower()


def test_cookies_are_not_kept():
    answer = giving(row(), headers="Set-Cookie: a=b\r\n")
    with serving(always(answer)) as server, client(server) as cluster:
        cluster.target_status(ID)
        cluster.target_status(ID)
    assert b"cookie" not in server.received.lower()


def test_the_token_shows_nowhere(caplog):
    caplog.set_level(logging.DEBUG)
    with serving(always(giving({"nonsense": True}))) as server, client(server) as cluster:
        with pytest.raises(Nonsense) as caught:
            cluster.make_writable(ID, send_by=soon())
        shown = [repr(cluster), repr(vars(cluster)), str(caught.value), repr(caught.value), caught.value.words]
    assert TOKEN in server.received.decode()
    assert not [text for text in [*shown, caplog.text] if "canary" in text]


def test_a_token_from_the_wrong_file_is_refused_without_being_shown():
    with pytest.raises(ValueError, match="right file") as caught:
        QumuloClient(
            "https://127.0.0.1", trust=Trust.ca(authority().pem), addresses=LOOPBACK, token="-----BEGIN\nsecret"
        )
    assert "secret" not in str(caught.value)


def injected(handler, **changes) -> QumuloClient:
    return QumuloClient(
        "https://sim.example",
        trust=Trust.ca(authority().pem),
        addresses=LOOPBACK,
        token=TOKEN,
        transport=httpx.MockTransport(handler),
        deadlines=Deadlines(),
        **changes,
    )


def test_what_a_cluster_tells_anybody_is_asked_without_the_token():
    """Whoever answers at the address may be another: nobody is told the token with the question who it is."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        said = {"revision_id": "Qumulo Core 7.8.0", "cluster_id": ID, "node_id": 1, "cluster_name": "dr"}
        return httpx.Response(200, json=said)

    with injected(handle) as cluster:
        cluster.version()
        cluster.node_state()
        cluster.cluster_name()
    assert [request.url.path for request in seen] == ["/v1/version", "/v1/node/state", "/v1/cluster/settings"]
    assert not any("Authorization" in request.headers for request in seen)


def test_a_transport_can_stand_in_for_the_network():
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=row(), headers={"Date": "Mon, 23 Nov 2026 07:00:00 GMT"})

    with injected(handle) as cluster:
        assert cluster.make_writable(ID, send_by=soon()).status == parse_target_status(row())
        assert cluster.date == datetime(2026, 11, 23, 7, tzinfo=UTC)
    (request,) = seen
    assert str(request.url) == f"https://sim.example:8000/v2/replication/target-relationships/{ID}/make-writable"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"

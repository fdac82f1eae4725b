"""Every way a call can end badly, against real sockets: the right error, the right effect, and never a second POST."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest

from dashboard.qumulo.addresses import AddressRule
from dashboard.qumulo.client import BODY_LIMIT, Deadlines
from dashboard.qumulo.errors import (
    AddressRefused,
    Answered,
    CannotConnect,
    Effect,
    Forbidden,
    NoAnswer,
    Nonsense,
    NotFound,
    QumuloError,
    TooLate,
    Unauthorized,
)
from dashboard.qumulo.wire import boottime
from tests.qumulo.lab import ID, TOKEN, Behaviour, Connection, Server, always, client, giving, row, serving
from tests.qumulo.test_client import injected

HURRIED = Deadlines(connect=20, read=20, list=1.5, post=1.5)


def soon() -> float:
    return boottime() + 60


def refusal(error_class: str = "http_conflict_error", description: str = "It is not established.", **more):
    return {"module": "m", "error_class": error_class, "description": description, "stack": ["frame"]} | more


# ── Behaviours ───────────────────────────────────────────────────────────────


def close(connection: Connection) -> None:
    connection.request()


def reset(connection: Connection) -> None:
    connection.request()
    connection.reset()


def half_a_body(connection: Connection) -> None:
    connection.request()
    connection.send(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"sta')


def garbage(connection: Connection) -> None:
    connection.request()
    connection.send(b"hello world\r\n\r\n")


def endless_headers(connection: Connection) -> None:
    connection.request()
    connection.send(b"HTTP/1.1 200 OK\r\n")
    while connection.pause(0):
        connection.send(b"X-Padding: " + b"x" * 8000 + b"\r\n")


def silence(connection: Connection) -> None:
    connection.request()
    connection.wait_until_over()


def dripped_headers(connection: Connection) -> None:
    """A line now and then, so that no single read ever takes long; a good answer at the end, for who waits for it."""
    connection.request()
    connection.send(b"HTTP/1.1 200 OK\r\n")
    for number in range(100):
        connection.send(b"X-%d: y\r\n" % number)
        if not connection.pause(0.05):
            return
    body = json.dumps(row()).encode()
    connection.send(b"Content-Length: %d\r\n\r\n" % len(body) + body)


def dripped_body(connection: Connection) -> None:
    connection.request()
    body = json.dumps(row()).encode().ljust(2000)
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n")
    for start in range(0, 2000, 20):
        connection.send(body[start : start + 20])
        if not connection.pause(0.05):
            return


def endless_body(connection: Connection) -> None:
    connection.request()
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while connection.pause(0):
        connection.send(b"10000\r\n" + b" " * 65536 + b"\r\n")


def compressed(connection: Connection) -> None:
    connection.request()
    connection.answer(raw=gzip.compress(json.dumps(row()).encode()), headers="Content-Encoding: gzip\r\n")


def bomb(connection: Connection) -> None:
    connection.request()
    connection.answer(raw=gzip.compress(b" " * (BODY_LIMIT + 1)), headers="Content-Encoding: gzip\r\n")


def once(body: object = None, **how):
    return always(giving(body, **how))


REDIRECT = {"status": "308 Permanent Redirect", "headers": "Location: https://127.0.0.1:1/\r\n"}
BROKEN: dict[str, tuple[Behaviour, type[QumuloError], int | None]] = {
    "close": (close, NoAnswer, None),
    "reset": (reset, NoAnswer, None),
    "half a body": (half_a_body, NoAnswer, None),
    "garbage": (garbage, NoAnswer, None),
    "endless headers": (endless_headers, NoAnswer, None),
    "redirect": (once(row(), **REDIRECT), Nonsense, 308),
    "redirect to nowhere": (once(row(), status="302 Found", headers="Location: https://[\r\n"), Nonsense, 302),
    "HTML from a machine in between": (once(raw=b"<html>", status="502 Bad Gateway"), Nonsense, 502),
    "404 without the API's words": (once(raw=b"<html>", status="404 Not Found"), Nonsense, 404),
    "403 with somebody else's JSON": (once({"error": "no"}, status="403 Forbidden"), Nonsense, 403),
    "401 without a body": (once(raw=b"", status="401 Unauthorized"), Nonsense, 401),
    "202": (once(row(), status="202 Accepted"), Nonsense, 202),
    "204": (always(lambda c: c.send(b"HTTP/1.1 204 No Content\r\n\r\n")), Nonsense, 204),
    "500 with the API's words": (once(refusal(), status="500 Internal Server Error"), Answered, 500),
    "503 with the API's words": (once(refusal(), status="503 Service Unavailable"), Answered, 503),
    "empty": (once(raw=b""), Nonsense, 200),
    "HTML with 200": (once(raw=b"<html>Sign in to the hotel</html>"), Nonsense, 200),
    "a list": (once([row()]), Nonsense, 200),
    "another relationship": (once(row(id="other")), Nonsense, 200),
    "a row without its state": (once(row(state=None)), Nonsense, 200),
    "the state twice": (once(raw=json.dumps(row()).replace("{", '{"state": "ENDED",', 1).encode()), Nonsense, 200),
    "compressed": (compressed, Nonsense, 200),
    "compressed bomb": (bomb, Nonsense, 200),
    "too large": (once(raw=b" " * (BODY_LIMIT + 1)), Nonsense, 200),
    "endless": (endless_body, Nonsense, 200),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_post_that_ends_in_doubt_is_sent_exactly_once_and_says_unknown(case):
    behaviour, kind, status = BROKEN[case]
    with serving(behaviour) as server, client(server) as cluster:
        with pytest.raises(kind) as caught:
            cluster.make_writable(ID, send_by=soon())
        assert caught.value.effect is Effect.UNKNOWN
        assert caught.value.http_status == status
        assert server.posts == len(server.requests) == server.connections == 1


def after_an_answer(behaviour: Behaviour) -> Behaviour:
    """The connection stands and is good for one answer, so that only the second one is waited for."""

    def behave(connection: Connection) -> None:
        connection.request()
        connection.answer(row())
        behaviour(connection)

    return behave


@pytest.mark.parametrize("behaviour", [silence, dripped_headers, dripped_body])
def test_a_post_without_an_answer_in_time_is_sent_exactly_once_and_says_unknown(behaviour):
    with serving(after_an_answer(behaviour)) as server, client(server, deadlines=HURRIED) as cluster:
        cluster.target_status(ID)
        with pytest.raises(NoAnswer, match=r"No answer came within 1\.5 s") as caught:
            cluster.make_writable(ID, send_by=soon())
        assert caught.value.effect is Effect.UNKNOWN
        assert server.posts == server.connections == 1


def test_a_get_without_an_answer_in_time_ends_with_its_deadline_and_is_not_repeated():
    with serving(after_an_answer(dripped_headers)) as server, client(server, deadlines=HURRIED) as cluster:
        cluster.target_status(ID)
        with pytest.raises(NoAnswer):
            cluster.target_statuses()
        assert len(server.requests) == 2


# ── What the API itself says ─────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("400 Bad Request", Answered),
        ("401 Unauthorized", Unauthorized),
        ("403 Forbidden", Forbidden),
        ("404 Not Found", NotFound),
        ("409 Conflict", Answered),
        ("429 Too Many Requests", Answered),
    ],
)
def test_a_refusal_in_the_words_of_the_api_is_told_apart_from_doubt(status, kind):
    answer = once(refusal(), status=status, headers="Retry-After: 999999\r\n")
    with serving(answer) as server, client(server) as cluster, pytest.raises(Answered) as caught:
        cluster.make_writable(ID, send_by=soon())
    error = caught.value
    assert type(error) is kind
    assert error.effect is Effect.REFUSED
    assert error.http_status == int(status[:3])
    assert (error.error_class, error.description) == ("http_conflict_error", "It is not established.")
    assert error.words == f"The cluster answered {status[:3]} http_conflict_error: It is not established."
    assert error.retry_after == 60
    assert server.posts == 1


def test_inner_errors_are_told_and_the_stack_is_not():
    answer = refusal("outer_error", "Failed.", inner=refusal("inner_error", "No quorum.", inner={"inner": 7}))
    server_side = serving(once(answer, status="409 Conflict"))
    with server_side as server, client(server) as cluster, pytest.raises(Answered) as caught:
        cluster.target_status(ID)
    assert caught.value.words == "The cluster answered 409 outer_error: Failed. (inner_error: No quorum.) (: )"
    assert "frame" not in caught.value.words


def test_a_hostile_error_text_is_stored_whole_and_shown_harmlessly():
    answer = refusal("x\u202e_error", "a\x00b\x1b[31m<script>" + "y" * 10000)
    server_side = serving(once(answer, status="400 Bad Request"))
    with server_side as server, client(server) as cluster, pytest.raises(Answered) as caught:
        cluster.target_status(ID)
    assert caught.value.description.startswith("a\\u0000b\x1b[31m<script>")
    assert len(caught.value.description) == 4096
    assert "x\\u202e_error: a\\u0000b\\u001b[31m<script>" in caught.value.words


# ── Proof that nothing was sent ──────────────────────────────────────────────


def test_nobody_listening_is_proof_that_nothing_was_sent():
    with socket.socket() as mute:  # has the port, so that nobody else gets it, and does not listen
        mute.bind(("127.0.0.1", 0))
        server = Server(url=f"https://127.0.0.1:{mute.getsockname()[1]}")
        with client(server) as cluster, pytest.raises(CannotConnect, match="connection refused") as caught:
            cluster.make_writable(ID, send_by=soon())
    assert caught.value.effect is Effect.ABSENT


def test_an_address_where_no_cluster_may_be_is_not_dialled():
    with serving(close) as server, client(server, addresses=AddressRule(["10.0.0.0/8"])) as cluster:
        with pytest.raises(AddressRefused, match="this machine itself") as caught:
            cluster.make_writable(ID, send_by=soon())
        assert caught.value.effect is Effect.ABSENT
    assert server.connections == 0


def test_a_name_is_judged_by_the_address_it_leads_to():
    """What a rebinding name server would do: a harmless name, an address that is not."""
    with serving(close) as server:
        server.url = server.url.replace("127.0.0.1", "localhost")
        with client(server, addresses=AddressRule()) as cluster, pytest.raises(AddressRefused):
            cluster.target_status(ID)
    assert server.connections == 0


@contextlib.contextmanager
def greeted(server: Server, greet: Callable[[socket.socket], object]) -> Iterator[None]:
    """Puts a listener without TLS in the server's place; `greet` has its only connection, and it is closed after."""

    def run() -> None:
        peer, _ = listener.accept()
        with peer, contextlib.suppress(OSError):
            peer.recv(4096)
            greet(peer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield
        server.over.set()
        thread.join(10)


def test_a_server_that_hangs_in_the_handshake_is_proof_that_nothing_was_sent():
    hasty = Deadlines(connect=0.6, read=20, list=20, post=20)
    # It hangs up after a while: who waits longer than the deadline gets another error than who keeps to it.
    with (
        serving(close) as server,
        greeted(server, lambda _: server.over.wait(6)),
        client(server, deadlines=hasty) as cluster,
        pytest.raises(CannotConnect, match="in time") as caught,
    ):
        cluster.make_writable(ID, send_by=soon())
    assert caught.value.effect is Effect.ABSENT


def test_a_server_that_speaks_no_tls_is_proof_that_nothing_was_sent():
    with (
        serving(close) as server,
        greeted(server, lambda peer: peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        client(server) as cluster,
        pytest.raises(CannotConnect, match="does not speak TLS") as caught,
    ):
        cluster.make_writable(ID, send_by=soon())
    assert caught.value.effect is Effect.ABSENT


# ── The send window ──────────────────────────────────────────────────────────


def test_a_post_whose_window_is_over_is_not_sent():
    with serving(always(giving(row()))) as server, client(server) as cluster:
        cluster.target_status(ID)
        with pytest.raises(TooLate) as caught:
            cluster.make_writable(ID, send_by=boottime())
        assert caught.value.effect is Effect.ABSENT
        assert server.posts == 0
        assert cluster.target_status(ID).id == ID  # the window was the POST's, not the client's


def test_a_post_whose_window_ends_while_it_connects_is_not_sent():
    """The check at the start passes, the handshake outlasts the window: the line before the first byte must refuse."""
    window = boottime() + 1.5

    def outlast() -> None:
        while boottime() < window:
            server.over.wait(0.05)

    with serving(always(giving(row())), before_handshake=outlast) as server, client(server) as cluster:
        with pytest.raises(TooLate):
            cluster.make_writable(ID, send_by=window)
        assert server.received == b""


# ── Connections that break in between ────────────────────────────────────────


def test_a_get_whose_kept_connection_was_reset_is_asked_again():
    def answer_then_reset(connection: Connection) -> None:
        connection.request()
        connection.answer(row())
        reset(connection)

    with serving(answer_then_reset, always(giving(row()))) as server, client(server) as cluster:
        cluster.target_status(ID)
        assert cluster.target_status(ID).id == ID
    assert len(server.requests) == 3
    assert server.connections == 2


def test_a_get_is_asked_twice_at_most():
    with serving(close) as server, client(server) as cluster:
        with pytest.raises(NoAnswer):
            cluster.target_status(ID)
        assert len(server.requests) == 2


def test_a_login_is_never_repeated():
    with serving(close) as server, client(server) as cluster:
        with pytest.raises(NoAnswer):
            cluster.login("admin", "pw")
        assert server.posts == 1


def test_a_post_on_a_kept_connection_that_is_reset_under_it_is_not_repeated():
    def answer_then_reset(connection: Connection) -> None:
        connection.request()
        connection.answer(row())
        reset(connection)

    with serving(answer_then_reset, always(giving(row()))) as server, client(server) as cluster:
        cluster.target_status(ID)
        with pytest.raises(NoAnswer) as caught:
            cluster.make_writable(ID, send_by=soon())
        assert caught.value.effect is Effect.UNKNOWN
        assert server.posts == 1
        assert server.connections == 1


def test_a_post_does_not_go_over_another_connection_than_the_one_that_was_checked():
    """Without a word before: whoever answers at the address now may be another."""

    gone = threading.Event()

    def answer_and_go(connection: Connection) -> None:
        connection.request()
        connection.answer(row())
        connection.end()
        gone.set()

    with serving(answer_and_go, always(giving(row()))) as server, client(server) as cluster:
        cluster.target_status(ID)
        assert gone.wait(60)
        with pytest.raises(CannotConnect, match="checked is gone") as caught:
            cluster.make_writable(ID, send_by=soon())
        assert caught.value.effect is Effect.ABSENT
        assert (server.posts, server.connections) == (0, 1)
        assert cluster.target_status(ID).id == ID  # a GET may, and is checked anew by whoever asks


def test_a_post_after_the_cluster_closed_the_connection_goes_once_over_a_new_one():
    def answer_and_close(connection: Connection) -> None:
        connection.request()
        connection.answer(row(), headers="Connection: close\r\n")

    with serving(answer_and_close, always(giving(row()))) as server, client(server) as cluster:
        cluster.target_status(ID)
        assert cluster.make_writable(ID, send_by=soon()).http_status == 200
        assert server.posts == 1
        assert server.connections == 2


# ── Behind a stand-in transport ──────────────────────────────────────────────

RAISED = [
    (httpx.ConnectError, CannotConnect, Effect.ABSENT),
    (httpx.ConnectTimeout, CannotConnect, Effect.ABSENT),
    (httpx.PoolTimeout, CannotConnect, Effect.ABSENT),
    (httpx.ReadTimeout, NoAnswer, Effect.UNKNOWN),
    (httpx.WriteTimeout, NoAnswer, Effect.UNKNOWN),
    (httpx.ReadError, NoAnswer, Effect.UNKNOWN),
    (httpx.WriteError, NoAnswer, Effect.UNKNOWN),
    (httpx.RemoteProtocolError, NoAnswer, Effect.UNKNOWN),
    (httpx.LocalProtocolError, NoAnswer, Effect.UNKNOWN),
]


@pytest.mark.parametrize(("raised", "kind", "effect"), RAISED)
def test_what_a_transport_raises_means_the_same_as_on_the_network(raised, kind, effect):
    asked = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        raise raised("boom", request=request)

    with injected(handle) as cluster:
        with pytest.raises(kind) as caught:
            cluster.make_writable(ID, send_by=soon())
        assert caught.value.effect is effect
        assert asked == ["POST"]


def test_the_send_window_holds_in_front_of_a_transport():
    def handle(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request)

    with injected(handle) as cluster, pytest.raises(TooLate):
        cluster.make_writable(ID, send_by=boottime())


def test_the_body_limit_holds_behind_a_transport():
    with injected(lambda _: httpx.Response(200, content=b" " * (BODY_LIMIT + 1))) as cluster, pytest.raises(Nonsense):
        cluster.target_status(ID)


@pytest.mark.parametrize("case", BROKEN)
def test_no_failure_shows_the_token_or_a_body(case, caplog):
    caplog.set_level(logging.DEBUG)
    behaviour, kind, _ = BROKEN[case]
    with serving(behaviour) as server, client(server) as cluster, pytest.raises(kind) as caught:
        cluster.make_writable(ID, send_by=soon())
    chain: BaseException | None = caught.value
    while chain is not None:
        assert TOKEN not in f"{chain} {chain!r} {chain.args}"
        chain = chain.__cause__ or chain.__context__
    assert TOKEN not in caplog.text
    assert "hotel" not in caught.value.words

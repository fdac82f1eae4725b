"""Checkpoints leave the database: to a file, to syslog over TLS, to a webhook. Real files, real sockets."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import socket
import socketserver
import ssl
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dashboard.audit import checkpoints, sinks
from dashboard.audit.models import Checkpoint, Sink
from dashboard.audit.verifier import check
from dashboard.database import database_now
from dashboard.simulator.certificates import Authority
from tests.audit.ledger import write
from tests.audit.test_checkpoints import age

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def ca(authority: Authority, tmp_path: Path) -> str:
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    return str(tmp_path / "ca.pem")


@pytest.fixture(autouse=True)
def _signed(settings: Any) -> None:
    settings.CHECKPOINT_KEY = urlsafe_b64encode(os.urandom(32)).decode()
    settings.CHECKPOINT_FILE = ""
    sign(2)


def sign(count: int) -> None:
    for _ in range(count):
        write(1)
        age(checkpoints.SOON)
        checkpoints.once()


def is_whole(text: str, count: int) -> bool:
    said, bad = check(None, io.BytesIO(text.encode()))
    return bad is None and said[0].startswith(f"Checkpoints: {count},")


def no_wait(name: str) -> None:
    Sink.objects.filter(pk=name).update(next_try_at=None)


# ── The file ─────────────────────────────────────────────────────────────────


def test_the_file_gets_each_checkpoint_once_and_verifies(settings: Any, tmp_path: Path) -> None:
    file = tmp_path / "new" / "checkpoints"
    settings.CHECKPOINT_FILE = str(file)
    sinks.to_file()
    sinks.to_file()
    sign(1)
    sinks.to_file()
    assert is_whole(file.read_text(), 3)
    assert file.read_text().count("failover-desk-checkpoint/1") == 3


def test_a_file_that_was_moved_away_is_begun_anew(settings: Any, tmp_path: Path) -> None:
    file = tmp_path / "checkpoints"
    settings.CHECKPOINT_FILE = str(file)
    sinks.to_file()
    file.rename(tmp_path / "rotated")
    sign(1)
    sinks.to_file()
    assert is_whole((tmp_path / "rotated").read_text() + file.read_text(), 3)


def test_half_a_note_that_a_crash_left_is_followed_by_the_whole_one(settings: Any, tmp_path: Path) -> None:
    file = tmp_path / "checkpoints"
    settings.CHECKPOINT_FILE = str(file)
    file.write_text(Checkpoint.objects.get(number=1).note[:99])
    sinks.to_file()
    assert is_whole(file.read_text(), 2)


def test_a_full_disk_is_tried_again_and_loses_nothing(settings: Any) -> None:
    settings.CHECKPOINT_FILE = "/dev/full"
    sinks.to_file()
    sink = Sink.objects.get(pk="file")
    assert (sink.number, sink.failures, sink.trouble) == (0, 1, "OSError")
    assert sink.next_try_at is not None


def test_a_sink_that_fails_waits_longer_each_time_and_goes_on_where_it_was(settings: Any, tmp_path: Path) -> None:
    settings.CHECKPOINT_FILE = str(tmp_path)  # a folder
    waits = []
    for _ in range(9):
        no_wait("file")
        asked = database_now()
        sinks.to_file()
        sink = Sink.objects.get(pk="file")
        assert sink.next_try_at is not None
        waits.append(sink.next_try_at - asked)
    assert all(wait >= min(timedelta(seconds=5 * 2**number), sinks.SLOWEST) for number, wait in enumerate(waits))
    assert waits[-1] < 2 * sinks.SLOWEST
    assert (sink.failures, sink.trouble) == (9, "IsADirectoryError")
    sinks.to_file()  # not before its time
    assert Sink.objects.get(pk="file").failures == 9
    settings.CHECKPOINT_FILE = str(tmp_path / "checkpoints")
    no_wait("file")
    sinks.to_file()
    after = Sink.objects.get(pk="file")
    assert (after.number, after.failures, after.trouble) == (2, 0, "")


def test_a_sink_that_is_no_longer_named_is_late_for_nobody(settings: Any, tmp_path: Path) -> None:
    settings.CHECKPOINT_FILE = str(tmp_path / "checkpoints")
    sinks.to_file()
    assert Sink.objects.get(pk="file").wanted
    settings.CHECKPOINT_FILE = ""
    sinks.to_file()
    assert not Sink.objects.get(pk="file").wanted


# ── Syslog ───────────────────────────────────────────────────────────────────


@contextmanager
def syslog(context: ssl.SSLContext) -> Iterator[tuple[str, list[bytes]]]:
    heard: list[bytes] = []
    closed = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with context.wrap_socket(self.request, server_side=True) as wire:
                said = b""
                while piece := wire.recv(65536):
                    said += piece
                heard.append(said)

    class Server(socketserver.ThreadingTCPServer):
        def handle_error(self, *_: Any) -> None:  # a client that does not trust us hangs up: that is a test
            closed.set()

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}", heard
        server.shutdown()


def frames(said: bytes) -> list[bytes]:
    found = []
    while said:
        length, _, rest = said.partition(b" ")
        found.append(rest[: int(length)])
        said = rest[int(length) :]
    return found


def test_syslog_gets_one_frame_for_each_over_tls(settings: Any, authority: Authority, ca: str) -> None:
    with syslog(authority.issue("here", "127.0.0.1").context()) as (address, heard):
        settings.CHECKPOINT_SYSLOG, settings.CHECKPOINT_SYSLOG_CA = address, ca
        sinks.to_syslog()
        sinks.to_syslog()
    [said] = heard
    texts = []
    for frame, checkpoint in zip(frames(said), Checkpoint.objects.all(), strict=True):
        match = re.fullmatch(rb"<109>1 \S+Z \S+ failover-desk - checkpoint - (.*) note (\S+)", frame)
        assert match
        assert f"entry {checkpoint.seq} hash {bytes(checkpoint.hash).hex()}".encode() in match[1]
        texts.append(base64.b64decode(match[2]).decode())
    assert is_whole("\n".join(texts), 2)
    assert Sink.objects.get(pk="syslog").number == 2


def test_syslog_that_shows_another_certificate_gets_nothing(settings: Any, authority: Authority, ca: str) -> None:
    with syslog(Authority().issue("here", "127.0.0.1").context()) as (address, heard):
        settings.CHECKPOINT_SYSLOG, settings.CHECKPOINT_SYSLOG_CA = address, ca
        sinks.to_syslog()
    assert heard == []
    assert Sink.objects.get(pk="syslog").trouble == "SSLCertVerificationError"


def test_syslog_that_is_not_there_is_tried_again(settings: Any) -> None:
    with socket.socket() as mute:  # has the port, so that nobody else gets it, and does not listen
        mute.bind(("127.0.0.1", 0))
        settings.CHECKPOINT_SYSLOG = f"127.0.0.1:{mute.getsockname()[1]}"
        sinks.to_syslog()
    assert Sink.objects.get(pk="syslog").trouble == "ConnectionRefusedError"


@pytest.mark.parametrize(
    ("text", "found"),
    [("logs.example.com:6515", ("logs.example.com", 6515)), ("logs", ("logs", 6514)), ("[::1]:99", ("::1", 99))],
)
def test_an_address_is_a_host_and_a_port(text: str, found: tuple[str, int]) -> None:
    assert sinks.host_and_port(text) == found


@pytest.mark.parametrize("text", ["", ":1", "host:port", "me@host", "host/path", "host:99999"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        sinks.host_and_port(text)


# ── The webhook ──────────────────────────────────────────────────────────────


class Hook:
    def __init__(self, context: ssl.SSLContext) -> None:
        self.heard: list[Any] = []
        self.answers = [200]
        hook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.heard.append((self.path, json.loads(body)))
                self.send_response(hook.answers[min(len(hook.heard), len(hook.answers)) - 1])
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hook(settings: Any, authority: Authority, ca: str) -> Iterator[Hook]:
    made = Hook(authority.issue("here", "127.0.0.1").context())
    settings.CHECKPOINT_WEBHOOK = f"https://127.0.0.1:{made.server.server_address[1]}/keep?token=x"
    settings.CHECKPOINT_WEBHOOK_CA = ca
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_the_webhook_gets_one_post_for_each(hook: Hook) -> None:
    sinks.to_webhook()
    assert [path for path, _ in hook.heard] == ["/keep?token=x"] * 2
    last = hook.heard[-1][1]
    checkpoint = Checkpoint.objects.latest("number")
    assert (last["number"], last["entry"], last["hash"]) == (2, 2, bytes(checkpoint.hash).hex())
    assert is_whole("\n".join(body["note"] for _, body in hook.heard), 2)


@pytest.mark.parametrize("status", [302, 307, 404, 500])
def test_an_answer_that_is_not_yes_is_tried_again_and_nothing_is_followed(hook: Hook, status: int) -> None:
    hook.answers = [200, status, 200]
    sinks.to_webhook()
    sink = Sink.objects.get(pk="webhook")
    assert (sink.number, sink.trouble) == (1, f"It answered {status}.")
    no_wait("webhook")
    sinks.to_webhook()
    assert [(path, body["number"]) for path, body in hook.heard] == [("/keep?token=x", n) for n in (1, 2, 2)]
    assert Sink.objects.get(pk="webhook").number == 2


def test_one_dead_sink_keeps_nothing_from_the_others(settings: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        settings.CHECKPOINT_WEBHOOK = f"https://127.0.0.1:{gone.getsockname()[1]}/"
    settings.CHECKPOINT_FILE = str(tmp_path / "checkpoints")
    sinks.to_webhook()
    sinks.to_file()
    assert is_whole((tmp_path / "checkpoints").read_text(), 2)

"""`manage.py cluster` over real HTTPS: what fits is added, what does not is refused in one sentence, and no token
reaches a machine that was not recognised first.
"""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from dashboard.audit.models import Entry
from dashboard.database import database_now
from dashboard.fleet import access, observe
from dashboard.fleet.models import Cluster, Event, Relationship
from dashboard.simulator import ManualClock, faults, scenarios, serve
from dashboard.simulator.certificates import Authority

pytestmark = pytest.mark.django_db
OTHER_PRINT = "AB:" * 31 + "AB"


class Site:
    """A simulated pair; its target has an HTTPS door and files with its tokens."""

    def __init__(self, folder: Path) -> None:
        self.world = scenarios.pair(ManualClock())
        self.target = self.world.clusters["dr"]
        self.leaf = Authority().issue("dr", "127.0.0.1")
        self.door = serve(self.target, leaf=self.leaf)
        self.folder = folder
        self.reader = self.file("reader", self.target.reader_token + "\n")
        self.executor = self.file("executor", self.target.executor_token)
        self.ca = self.file("ca.pem", self.door.ca_pem.decode())

    def file(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def add(self, name: str = "dr-west", *, url: str = "", trust: tuple[str, ...] = (), executor: bool = True) -> str:
        tokens = ["--reader-token-file", self.reader]
        tokens += ["--executor-token-file", self.executor] if executor else []
        return run("add", name, url or self.door.url, *tokens, *(trust or ("--ca-file", self.ca)))

    @property
    def bearers(self) -> int:
        """Requests that carried a token to this machine."""
        return sum(each.bearer for each in self.target.log)


def run(*words: str) -> str:
    out, err = io.StringIO(), io.StringIO()
    call_command("cluster", *words, stdout=out, stderr=err)
    return out.getvalue() + err.getvalue()


@pytest.fixture
def site(tmp_path):
    here = Site(tmp_path)
    with here.door:
        yield here


@pytest.mark.parametrize("kind", ["ca", "pinned"])
def test_a_cluster_is_added_with_its_id_name_and_version(site, kind):
    said = site.add(trust=() if kind == "ca" else ("--fingerprint", site.door.fingerprint.lower().replace(":", "")))
    cluster = Cluster.objects.get()
    assert (cluster.name, cluster.url, cluster.uuid) == ("dr-west", site.door.url, site.target.uuid)
    assert (cluster.reported_name, cluster.core_version, cluster.trust_kind) == ("dr", "7.8.0", kind)
    assert "1 target relationships" in said
    assert "Warning" not in said
    assert site.target.reader_token not in said + cluster.reader_token
    assert access.unseal("reader", cluster.uuid, cluster.reader_token) == site.target.reader_token
    assert access.unseal("executor", cluster.uuid, cluster.executor_token) == site.target.executor_token
    entry = Entry.objects.get(tag="cluster.added")
    assert cluster.uuid in entry.payload
    assert '"kind":"cli"' in entry.payload
    assert site.target.reader_token not in entry.payload

    observe.observe(cluster.pk)
    assert Relationship.objects.get().target_root_path == "/dr/finance/"


def test_a_cluster_without_an_executor_token_is_watched_only(site):
    assert "Watched only" in site.add(executor=False)
    assert Cluster.objects.get().watched_only


def test_a_private_key_that_stands_in_the_ca_file_is_not_stored(site):
    site.ca = site.file("both.pem", site.door.ca_pem + site.leaf.key)
    site.add()
    assert "PRIVATE" not in Cluster.objects.get().certificate


def test_a_reader_that_can_write_is_added_with_a_warning(site):
    site.reader = site.executor
    said = site.add()
    assert "Warning: The reader token can write (PRIVILEGE_REPLICATION_TARGET_WRITE)" in said
    assert Cluster.objects.exists()


# ── Refusals ──


def _other_authority(site: Site) -> None:
    site.ca = site.file("other.pem", Authority().pem)


def _not_qumulo(site: Site) -> None:
    site.target.faults.add(faults.answers(b'{"product": "toaster"}', path="/v1/version"))


def _unconfigured(site: Site) -> None:
    body = b'{"node_id": 1, "state": "ACTIVE", "cluster_id": ""}'
    site.target.faults.add(faults.answers(body, path="/v1/node/state"))


def _swap(site: Site) -> None:
    site.executor = site.reader


def _wrong_token(site: Site) -> None:
    site.reader = site.file("reader", "access-v1:d3Jvbmc=")


def _powerless(site: Site) -> None:
    me = b'{"name": "nobody", "privileges": ["PRIVILEGE_SNAPSHOT_READ"]}'
    site.target.faults.add(faults.answers(me, path="who-am-i"))


def _may_not_list(site: Site) -> None:
    site.target.faults.add(faults.refusal(403, "http_forbidden_error", "No.", path="/target-relationships/"))


def _picture(site: Site) -> None:
    site.reader = site.file("reader", b"\x89PNG\xff")


def _nothing(site: Site) -> None:
    """The command line itself is what does not fit."""


REFUSALS: dict[str, tuple[Callable[[Site], None], dict[str, Any], str]] = {
    "a certificate of another authority": (
        _other_authority,
        {},
        "The certificate of 127.0.0.1 is not trusted: .+; no token was sent.",
    ),
    "another certificate than the pinned one": (
        _nothing,
        {"trust": ("--fingerprint", OTHER_PRINT)},
        "https://127.0.0.1:[0-9]+ shows another certificate, with the fingerprint [0-9A-F:]+; no token was sent.",
    ),
    "a fingerprint that is none": (
        _nothing,
        {"trust": ("--fingerprint", "AB:CD")},
        "A SHA-256 fingerprint has 64 hexadecimal digits",
    ),
    "no Qumulo cluster": (_not_qumulo, {}, "does not answer as a Qumulo cluster does"),
    "a node without a cluster": (_unconfigured, {}, "belongs to no cluster yet; it has no id."),
    "a wrong token": (_wrong_token, {}, "dr-west does not accept the reader token."),
    "an executor that cannot write": (
        _swap,
        {},
        r"The executor token \(desk-reader\) lacks PRIVILEGE_REPLICATION_TARGET_WRITE.",
    ),
    "a reader that cannot read": (
        _powerless,
        {},
        r"The reader token \(nobody\) lacks PRIVILEGE_REPLICATION_TARGET_READ.",
    ),
    "a reader that is refused all the same": (_may_not_list, {}, "The reader token may not read target relationships"),
    "a token file that is not text": (_picture, {}, "is not a text file."),
    "plain HTTP": (_nothing, {"url": "http://127.0.0.1:8000"}, "must begin with https://"),
    "an address with a path": (_nothing, {"url": "https://127.0.0.1:8000/v1"}, "without a path"),
    "a name that is none": (_nothing, {"name": "../dr"}, "is not a name"),
}


@pytest.mark.parametrize(("make", "how", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_does_not_fit_is_refused_in_one_sentence_and_leaves_nothing(site, make, how, words):
    make(site)
    with pytest.raises(CommandError, match=words) as refused:
        site.add(**how)
    assert "\n" not in str(refused.value)
    assert not Cluster.objects.exists()
    assert not Entry.objects.exists()


@pytest.mark.parametrize("case", ["a certificate of another authority", "another certificate than the pinned one"])
def test_a_machine_with_the_wrong_certificate_sees_no_request_at_all(site, case):
    make, how, _ = REFUSALS[case]
    make(site)
    with pytest.raises(CommandError):
        site.add(**how)
    assert site.target.log == []


@pytest.mark.parametrize("case", ["no Qumulo cluster", "a node without a cluster"])
def test_a_machine_that_is_not_recognised_sees_no_token(site, case):
    REFUSALS[case][0](site)
    with pytest.raises(CommandError):
        site.add()
    assert site.target.log
    assert site.bearers == 0


def test_a_cluster_that_is_registered_already_is_named_and_sees_no_token(site):
    site.add("dr-west")
    before = site.bearers
    with pytest.raises(CommandError, match="This cluster is registered already, as dr-west; no token was sent"):
        site.add("dr-again")
    assert site.bearers == before
    assert Cluster.objects.count() == 1


def test_a_name_that_is_taken_is_refused_before_anybody_is_called(site):
    site.add("dr-west")
    before = len(site.target.log)
    with pytest.raises(CommandError, match="There is already a cluster named dr-west"):
        site.add("dr-west")
    assert len(site.target.log) == before


def test_this_machine_itself_is_refused_unless_it_is_listed(site, settings):
    settings.CLUSTER_ALLOWED_CIDRS = ["10.0.0.0/8"]
    with pytest.raises(CommandError, match=r"this machine itself.+\(setting CLUSTER_ALLOWED_CIDRS\)"):
        site.add()
    assert site.target.log == []


def test_a_machine_that_does_not_answer_is_unreachable(site):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(CommandError, match=f"No connection to 127.0.0.1 port {port}"):
        site.add(url=f"https://127.0.0.1:{port}")


def test_a_machine_without_tls_is_said_to_be_one(site):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            for _ in range(2):  # a GET that failed at once is tried again
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(CommandError, match="does not speak TLS"):
            site.add(url=f"https://127.0.0.1:{server.getsockname()[1]}")


@pytest.mark.parametrize("which", ["reader", "executor", "ca"])
@pytest.mark.parametrize("wrong", ["missing", "empty"])
def test_a_file_that_is_missing_or_empty_is_named(site, which, wrong):
    path = str(site.folder / "nowhere") if wrong == "missing" else site.file("hollow", " \n")
    setattr(site, which, path)
    words = "cannot be read: No such file or directory." if wrong == "missing" else "is empty."
    with pytest.raises(CommandError, match=f"{path} {words}"):
        site.add()
    assert site.target.log == []


@pytest.mark.parametrize("key", ["READER_KEY", "EXECUTOR_KEY"])
def test_a_missing_key_is_named_before_anybody_is_called(site, settings, key):
    setattr(settings, key, "")
    with pytest.raises(CommandError, match=f"{key} is not set here"):
        site.add()
    assert site.target.log == []


def test_one_of_the_two_ways_to_trust_has_to_be_chosen(site):
    with pytest.raises(CommandError, match="--ca-file --fingerprint is required"):
        run("add", "dr-west", site.door.url, "--reader-token-file", site.reader)
    with pytest.raises(CommandError, match="not allowed with"):
        site.add(trust=("--ca-file", site.ca, "--fingerprint", OTHER_PRINT))


# ── The other verbs ──


def test_the_list_shows_when_each_was_read_and_what_troubles_it(site):
    assert run("list").split() == ["NAME", "URL", "UUID", "VERSION", "LAST", "READ", "TROUBLE", "FAILOVERS"]
    site.add(executor=False)
    assert "never" in run("list")
    observe.observe(Cluster.objects.get().pk)
    line = run("list").splitlines()[1]
    for shown in ("dr-west", site.door.url, site.target.uuid, "7.8.0", "UTC", "none", "watched only"):
        assert shown in line
    site.target.expire_tokens()
    observe.observe(Cluster.objects.get().pk)
    assert "Refuses the sign-in: The cluster answered 401" in run("list")


def test_a_test_reads_the_cluster_and_tries_both_tokens_without_showing_them(site):
    site.add()
    said = run("test", "dr-west")
    assert "Read: dr, Qumulo Core 7.8.0, 1 target relationships." in said
    assert "The reader token is accepted (desk-reader)." in said
    assert "The executor token is accepted (desk-executor)." in said
    assert "TROUBLE" not in said
    assert "access-v1" not in said
    assert Cluster.objects.get().last_read_at is not None


def test_a_test_that_finds_trouble_ends_in_an_error_and_says_what(site, capsys):
    site.add()
    site.target.expire_tokens()
    out = io.StringIO()
    with pytest.raises(CommandError, match="dr-west is not as it should be"):
        call_command("cluster", "test", "dr-west", stdout=out)
    said = out.getvalue()
    assert said.count("TROUBLE") == 3
    assert "Refuses the sign-in" in said


def test_a_process_without_the_executors_key_says_that_it_did_not_try_that_token(site, settings):
    site.add()
    settings.EXECUTOR_KEY = ""
    assert "The executor token was not tried" in run("test", "dr-west")


def test_a_removed_cluster_takes_its_rows_with_it(site):
    site.add()
    observe.observe(Cluster.objects.get().pk)
    assert Event.objects.exists()
    assert "Removed dr-west." in run("remove", "dr-west")
    assert not Cluster.objects.exists()
    assert not Relationship.objects.exists()
    assert "dr-west is no longer watched." in Entry.objects.get(tag="cluster.removed").payload
    for verb in ("remove", "test"):
        with pytest.raises(CommandError, match="There is no cluster named dr-west"):
            run(verb, "dr-west")


def test_a_cluster_with_a_failover_in_its_record_is_not_removed(site, cast):
    import uuid

    from dashboard.accounts.people import actor_of
    from dashboard.failovers import asking

    site.add()
    observe.observe(Cluster.objects.get().pk)
    asking.request(
        user=cast.rivera,
        actor=actor_of(cast.rivera),
        relationships=[Relationship.objects.get()],
        typed="/dr/finance",
        reason="dc1-prod lost power in row C.",
        ticket="",
        nonce=uuid.uuid4(),
    )
    with pytest.raises(CommandError, match="dr-west has failovers in its record"):
        run("remove", "dr-west")
    assert Relationship.objects.get().held_by
    assert not Entry.objects.filter(tag="cluster.removed").exists()


def test_a_token_is_changed_after_it_was_tried(site):
    site.add(executor=False)
    run("change", "dr-west", "--executor-token-file", site.executor)
    cluster = Cluster.objects.get()
    assert not cluster.watched_only
    assert cluster.version == 2
    assert cluster.next_read_at <= database_now() + timedelta(seconds=1)
    entry = Entry.objects.get(tag="cluster.changed")
    assert "dr-west changed: executor." in entry.payload
    sealed = cluster.executor_token
    with pytest.raises(CommandError, match="lacks PRIVILEGE_REPLICATION_TARGET_WRITE"):
        run("change", "dr-west", "--executor-token-file", site.reader)
    assert Cluster.objects.get().executor_token == sealed


def test_a_new_certificate_is_trusted_by_an_explicit_act_only(site):
    site.add(trust=("--fingerprint", site.door.fingerprint))
    with serve(site.target) as renewed:
        Cluster.objects.update(url=renewed.url)
        before = site.bearers
        observe.observe(Cluster.objects.get().pk)
        cluster = Cluster.objects.get()
        assert cluster.trouble == "certificate"
        assert site.bearers == before
        run("change", "dr-west", "--fingerprint", renewed.fingerprint)
        observe.observe(cluster.pk)
        assert Cluster.objects.get().trouble == ""


def test_a_change_to_the_address_of_another_cluster_is_refused(site):
    site.add()
    other = site.world.clusters["prod"]
    with serve(other) as elsewhere:
        ca = site.file("elsewhere.pem", elsewhere.ca_pem)
        with pytest.raises(CommandError, match=f"answers another cluster: {other.uuid}"):
            run("change", "dr-west", "--url", elsewhere.url, "--ca-file", ca)
    assert Cluster.objects.get().url == site.door.url
    assert not any(each.bearer for each in other.log)


def test_a_change_without_a_change_is_refused(site):
    site.add()
    with pytest.raises(CommandError, match="Say what is to change"):
        run("change", "dr-west")


def test_a_token_that_was_stored_under_another_key_is_trouble_not_an_exception(site, settings):
    site.add()
    settings.READER_KEY = settings.EXECUTOR_KEY = Fernet.generate_key().decode()
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("cluster", "test", "dr-west", stdout=out)
    assert "READER_KEY is not the key it was stored with" in out.getvalue()
    assert "EXECUTOR_KEY is not the key it was stored with" in out.getvalue()

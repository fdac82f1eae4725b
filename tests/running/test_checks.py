"""What a desk must not be: each wrong setting is refused, and the refusal names it."""

from __future__ import annotations

import re
import subprocess
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from dashboard import checks
from dashboard.audit import guards
from tests.running.processes import bare_environ, manage

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django.fixtures import Settings

# Fixed: keys stand in the names of tests, which must be the same in every process that runs them.
KEY, OTHER_KEY = (urlsafe_b64encode(letter * 32).decode() for letter in (b"k", b"o"))


def test_the_settings_of_these_tests_are_right(settings: Settings) -> None:
    settings.CHECKPOINT_KEY = KEY
    checks.refuse_wrong_settings(role="up")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SECRET_KEY", "", "SECRET_KEY is missing"),
        ("SECRET_KEY", "short", "SECRET_KEY is too short"),
        ("READER_KEY", "", "READER_KEY is missing"),
        ("READER_KEY", "not a key", "READER_KEY is not a key"),
        ("READER_KEY", KEY[:-4], "READER_KEY is not a key"),
        ("READER_KEY", f"{KEY},{KEY[:-4]}", "READER_KEY is not a key"),
        ("EXECUTOR_KEY", "", "EXECUTOR_KEY is missing"),
        ("EXECUTOR_KEY", "not a key", "EXECUTOR_KEY is not a key"),
        ("CHECKPOINT_KEY", "", "CHECKPOINT_KEY is missing"),
        ("CHECKPOINT_KEY", "not a key", "CHECKPOINT_KEY is not a key"),
        ("CHECKPOINT_KEY", KEY[:-8], "CHECKPOINT_KEY is not a key"),
        ("CHECKPOINT_SYSLOG", "here/there", "CHECKPOINT_SYSLOG is no address"),
        ("ALLOWED_HOSTS", ["desk.example.com", "*"], r"ALLOWED_HOSTS contains \*"),
        ("HOST", "0.0.0.0", "HOST is 0.0.0.0, and nothing encrypts"),  # noqa: S104
        ("PORT", 70000, "PORT is 70000"),
        ("REDIS_URL", "localhost:6379", "REDIS_URL is not the address of a Redis"),
        ("TLS_CERT", "/cert.pem", "TLS_KEY is missing"),
        ("TLS_KEY", "/key.pem", "TLS_CERT is missing"),
        ("CLUSTER_ALLOWED_CIDRS", ["10.0.0.0/8", "10.0.0.300"], "CLUSTER_ALLOWED_CIDRS: '10.0.0.300' is not a network"),
        ("OIDC_ISSUER", "http://idp.example.com", "OIDC_ISSUER does not begin with https"),
        ("OIDC_ISSUER", "https://idp.example.com", "OIDC_ISSUER is set without a client"),
        ("OIDC_CA_FILE", "/nowhere.pem", "OIDC_CA_FILE cannot be used: No such file"),
        ("CLUSTER_ALLOWED_CIDRS", ["10.1.2.3/8"], "CLUSTER_ALLOWED_CIDRS: '10.1.2.3/8' is not a network"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(settings: Settings, name: str, value: Any, says: str) -> None:
    settings.CHECKPOINT_KEY = KEY
    setattr(settings, name, value)
    with pytest.raises(ImproperlyConfigured, match=says):
        checks.refuse_wrong_settings(role="up")


def test_all_that_is_wrong_is_said_at_once(settings: Settings) -> None:
    settings.READER_KEY = settings.EXECUTOR_KEY = ""
    with pytest.raises(ImproperlyConfigured) as refusal:
        checks.refuse_wrong_settings(role="sweep")
    assert "READER_KEY is missing" in str(refusal.value)
    assert "EXECUTOR_KEY is missing" in str(refusal.value)


def test_one_key_for_reading_and_sending_is_refused(settings: Settings) -> None:
    settings.READER_KEY = f"{OTHER_KEY},{KEY}"
    settings.EXECUTOR_KEY = KEY
    with pytest.raises(ImproperlyConfigured, match="EXECUTOR_KEY is the same as READER_KEY"):
        checks.refuse_wrong_settings(role="sweep")


@pytest.mark.parametrize("role", ["web", "worker-observe"])
def test_those_who_only_read_start_without_the_executor_key_and_refuse_it(
    settings: Settings, role: checks.Role
) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"EXECUTOR_KEY must not be given to {role}"):
        checks.refuse_wrong_settings(role=role)
    settings.EXECUTOR_KEY = ""
    checks.refuse_wrong_settings(role=role)


@pytest.mark.parametrize("role", ["worker-send", "sweep"])
def test_those_who_send_do_not_start_without_the_executor_key(settings: Settings, role: checks.Role) -> None:
    checks.refuse_wrong_settings(role=role)
    settings.EXECUTOR_KEY = ""
    with pytest.raises(ImproperlyConfigured, match="EXECUTOR_KEY is missing"):
        checks.refuse_wrong_settings(role=role)


@pytest.mark.parametrize("role", ["web", "worker-observe", "worker-send", "sweep"])
def test_nobody_but_the_relay_may_sign(settings: Settings, role: checks.Role) -> None:
    settings.EXECUTOR_KEY = OTHER_KEY if role in ("worker-send", "sweep") else ""
    settings.CHECKPOINT_KEY = KEY
    with pytest.raises(ImproperlyConfigured, match=f"CHECKPOINT_KEY must not be given to {role}"):
        checks.refuse_wrong_settings(role=role)


def test_the_relay_signs_and_does_not_send(settings: Settings) -> None:
    settings.CHECKPOINT_KEY = KEY
    with pytest.raises(ImproperlyConfigured, match="EXECUTOR_KEY must not be given to relay"):
        checks.refuse_wrong_settings(role="relay")
    settings.EXECUTOR_KEY = ""
    checks.refuse_wrong_settings(role="relay")
    settings.CHECKPOINT_KEY = ""
    with pytest.raises(ImproperlyConfigured, match="CHECKPOINT_KEY is missing"):
        checks.refuse_wrong_settings(role="relay")


def test_another_host_is_fine_behind_a_proxy(settings: Settings) -> None:
    settings.HOST, settings.BEHIND_PROXY = "10.1.2.3", True
    settings.CHECKPOINT_KEY = KEY
    checks.refuse_wrong_settings(role="up")


def test_a_certificate_that_cannot_be_read_is_refused(settings: Settings, tmp_path: Path) -> None:
    settings.TLS_CERT = settings.TLS_KEY = str(tmp_path / "none.pem")
    settings.CHECKPOINT_KEY = KEY
    with pytest.raises(ImproperlyConfigured, match="TLS_CERT and TLS_KEY cannot be used: No such file"):
        checks.refuse_wrong_settings(role="up")
    (tmp_path / "none.pem").write_text("not PEM")
    settings.CHECKPOINT_KEY = KEY
    with pytest.raises(ImproperlyConfigured, match="TLS_CERT and TLS_KEY cannot be used"):
        checks.refuse_wrong_settings(role="up")


def test_a_host_that_nobody_can_name_is_a_warning(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.HOST, settings.BEHIND_PROXY = "10.1.2.3", True
    settings.CHECKPOINT_KEY = KEY
    checks.refuse_wrong_settings(role="up")
    assert "ALLOWED_HOSTS lets nobody in from elsewhere" in caplog.text
    caplog.clear()
    settings.ALLOWED_HOSTS = ["desk.example.com"]
    settings.CHECKPOINT_KEY = KEY
    checks.refuse_wrong_settings(role="up")
    assert not caplog.text


@pytest.mark.parametrize("door", [{"HOST": "10.1.2.3", "BEHIND_PROXY": True}, {"BEHIND_PROXY": True}])
def test_the_demo_stays_on_this_machine(settings: Settings, door: dict[str, Any]) -> None:
    settings.DEMO = True
    settings.CHECKPOINT_KEY = KEY
    checks.refuse_wrong_settings(role="up")
    for name, value in door.items():
        setattr(settings, name, value)
    with pytest.raises(ImproperlyConfigured, match="DEMO is on"):
        checks.refuse_wrong_settings(role="up")


@pytest.mark.django_db
def test_a_whole_database_is_accepted(settings: Settings) -> None:
    settings.CHECKPOINT_KEY = KEY
    checks.refuse_to_start(role="up")


@pytest.mark.django_db
def test_a_database_older_than_the_program_is_refused() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'failovers'")
    with pytest.raises(ImproperlyConfigured, match="older than this program"):
        checks.refuse_to_start(role="sweep")


@pytest.mark.django_db
def test_a_database_newer_than_the_program_is_refused() -> None:
    """Somebody went back to yesterday's program, which does not know a rule that has come since."""
    MigrationRecorder(connection).record_applied("failovers", "9999_a_rule_of_tomorrow")
    with pytest.raises(ImproperlyConfigured, match="newer than this program: it has failovers 9999_a_rule_of_tomorrow"):
        checks.refuse_to_start(role="worker-send")


@pytest.mark.django_db
def test_migrations_that_were_squashed_or_are_of_a_package_that_went_are_no_newer_ones(settings: Settings) -> None:
    settings.CHECKPOINT_KEY = KEY
    MigrationRecorder(connection).record_applied("failovers", "0000_squashed_since")
    MigrationRecorder(connection).record_applied("gone", "9999_of_nobody")
    checks.refuse_to_start(role="up")


@pytest.mark.django_db
@pytest.mark.parametrize("role", ["web", "worker-send", "sweep"])
def test_what_a_hold_can_say_stops_nobody_from_starting(settings: Settings, role: checks.Role) -> None:
    """A guard that is gone; on PostgreSQL also a server that forgets, because the tests' one does."""
    settings.TESTING = False
    settings.EXECUTOR_KEY = OTHER_KEY if role != "web" else ""
    guards.drop(connection)
    checks.refuse_to_start(role=role)


@pytest.mark.django_db
@pytest.mark.postgres
def test_whoever_owns_the_audit_trail_is_warned(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.TESTING = False
    checks.refuse_to_start(role="sweep")
    assert "owns the audit trail and could switch its guards off" in caplog.text


@pytest.mark.django_db
@pytest.mark.postgres
def test_a_database_that_forgets_is_a_warning_to_whoever_checks(settings: Settings) -> None:
    settings.TESTING = False
    found = checks.check_durability(databases=["default"])
    assert {each.id for each in found} == {"dashboard.W011"}
    assert "fsync = off" in found[0].msg


@pytest.mark.parametrize("role", ["sweep", "worker-send", "relay"])
def test_a_fence_without_a_place_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, role: checks.Role
) -> None:
    settings.EXECUTOR_KEY, settings.CHECKPOINT_KEY = ("", KEY) if role == "relay" else (OTHER_KEY, "")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)  # as a container does that runs as a number
    checks.refuse_wrong_settings(role=role)
    settings.FENCE_FILE = ""
    with pytest.raises(ImproperlyConfigured, match=r"FENCE_FILE is not set, and the account .* has no home"):
        checks.refuse_wrong_settings(role=role)


def test_django_finds_nothing_else_for_a_production_behind_a_proxy(tmp_path: Path) -> None:
    """What it still warns of is not ours: redirecting is the proxy's, and the domain's other names are its owner's."""
    environ = bare_environ(
        SECRET_KEY=f"{KEY}{OTHER_KEY}",
        READER_KEY=KEY,
        EXECUTOR_KEY=OTHER_KEY,
        CHECKPOINT_KEY=KEY,
        FAILOVER_DESK_DATA=str(tmp_path),
    )
    environ |= {"HOST": "10.1.2.3", "BEHIND_PROXY": "1", "ALLOWED_HOSTS": "desk.example.com"}
    done = subprocess.run(manage("check", "--deploy"), env=environ, capture_output=True, text=True, check=True)
    assert re.findall(r"\((\S+\.[EW]\d+)\)", done.stderr) == ["security.W005", "security.W008", "security.W021"]

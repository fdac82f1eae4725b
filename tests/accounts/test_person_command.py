from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command

from dashboard.accounts.models import User
from dashboard.audit import chain
from dashboard.audit.models import Entry
from dashboard.fleet.models import Cluster

pytestmark = pytest.mark.django_db


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("correct horse\n")
    return path


def person(*arguments: object) -> str:
    out = io.StringIO()
    call_command("person", *map(str, arguments), stdout=out)
    return out.getvalue()


def test_add_makes_an_account_that_can_sign_in(secret: Path) -> None:
    said = person("add", "j.lind", "--role", "approver", "--role", "auditor", "--password-file", secret)
    assert said == "Added j.lind (approver, auditor), an account of j.lind.\n"
    assert authenticate(username="j.lind", password="correct horse") is not None
    entry = Entry.objects.get()
    assert (entry.tag, entry.record["actor"]["kind"], entry.actor) == ("person.added", "cli", chain.cli().label)


@pytest.mark.parametrize(
    ("content", "password"),
    [(b"secret", "secret"), (b"secret\r\n", "secret"), (b" two words \n", " two words "), (b"two\n\n", "two\n")],
)
def test_only_the_last_line_end_is_taken_from_the_password(tmp_path: Path, content: bytes, password: str) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    person("add", "j.lind", "--role", "viewer", "--password-file", file)
    assert User.objects.get().check_password(password)


def test_list_shows_everybody_and_whose_accounts_they_are(secret: Path) -> None:
    person("add", "j.lind", "--role", "approver", "--password-file", secret)
    person("add", "j.lind-adm", "--role", "admin", "--password-file", secret, "--person", "j.lind")
    person("add", "gone", "--role", "viewer", "--password-file", secret, "--email", "gone@example.org")
    assert person("remove", "gone") == "gone can no longer sign in.\n"
    rows = [line.split(None, 1) for line in person("list").splitlines()]
    assert rows == [["gone", "removed"], ["j.lind", "approver"], ["j.lind-adm", "admin  (of j.lind)"]]


def test_remove_says_which_accounts_the_person_still_has(secret: Path) -> None:
    person("add", "j.lind", "--role", "approver", "--password-file", secret)
    person("add", "j.lind-adm", "--role", "admin", "--password-file", secret, "--person", "j.lind")
    said = person("remove", "j.lind")
    assert said == "j.lind can no longer sign in.\nThe same person still has: j.lind-adm.\n"
    assert User.objects.count() == 2


def test_change_replaces_roles_and_password_and_restores(secret: Path) -> None:
    person("add", "j.lind", "--role", "approver", "--password-file", secret)
    person("remove", "j.lind")
    secret.write_text("battery staple")
    said = person("change", "j.lind", "--role", "operator", "--password-file", secret, "--restore")
    assert said == "Changed j.lind (operator).\n"
    assert authenticate(username="j.lind", password="battery staple") is not None


def test_a_role_is_limited_only_to_a_cluster_that_is_there(secret: Path) -> None:
    Cluster.objects.create(name="dr-west", url="https://x:8000", uuid="west")
    said = person("add", "j.lind", "--role", "approver@dr-west", "--role", "viewer", "--password-file", secret)
    assert said == "Added j.lind (viewer, approver@dr-west), an account of j.lind.\n"
    for verb in (("add", "k.osei", "--password-file", secret), ("change", "j.lind")):
        with pytest.raises(CommandError, match=r"There is no cluster named dr-wset\."):
            person(*verb, "--role", "approver@dr-wset")
    assert User.objects.get().roles == ["viewer", "approver@dr-west"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"", "is empty."),
        (b"\n", "is empty."),
        (b"\xff\xfe", "is not text in UTF-8."),
    ],
)
def test_a_password_file_that_holds_no_password_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CommandError) as refused:
        person("add", "j.lind", "--role", "viewer", "--password-file", file)
    assert str(refused.value) == f"The password file {file} {words}"
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "j.lind", "--role", "boss"], "There is no role boss; the roles are "),
        (["add", "j.lind"], "An account needs a role; "),
        (["add", "taken", "--role", "viewer"], "There is already an account taken."),
        (["add", "j.lind", "--role", "viewer", "--person", "x"], "There is no person x."),
    ],
)
def test_a_refusal_is_one_sentence_and_changes_nothing(secret: Path, arguments: list[str], words: str) -> None:
    person("add", "taken", "--role", "viewer", "--password-file", secret)
    with pytest.raises(CommandError) as refused:
        person(*arguments, "--password-file", secret)
    assert str(refused.value).startswith(words)
    assert User.objects.count() == Entry.objects.count() == 1

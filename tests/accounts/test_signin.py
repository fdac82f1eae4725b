"""Time is moved by moving the rows' own times back: the clock that counts is the database's, which no test can turn."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F

from dashboard.accounts import signin
from dashboard.accounts.models import SignInFailures
from dashboard.audit import chain
from dashboard.audit.models import Entry
from tests.conftest import Cast

pytestmark = pytest.mark.django_db

HERE, ELSEWHERE = "10.9.0.21", "10.9.0.22"


def later(**length: float) -> None:
    """Lets this much time pass for all counts."""
    passed = timedelta(**length)
    SignInFailures.objects.update(window_from=F("window_from") - passed, told_at=F("told_at") - passed)


def failures() -> list[tuple[str, int]]:
    """Object and count of each entry about failed sign-ins."""
    return [(e.object, e.record["detail"]["count"]) for e in Entry.objects.filter(tag="signin.failed")]


def fail(account: str, ip: str = HERE, *, times: int = 1) -> None:
    for _ in range(times):
        signin.record_failure(account, ip)


def test_the_first_failure_is_recorded_at_once(cast: Cast) -> None:
    fail("k.osei")
    entry = Entry.objects.get(tag="signin.failed")
    assert entry.object == "person:k.osei"
    assert entry.record["actor"] == {
        "kind": "user",
        "label": "Not signed in",
        "person": None,
        "account": "",
        "ip": HERE,
    }
    assert entry.record["words"] == "1 failed sign-in for k.osei from 10.9.0.21."


def test_more_failures_within_a_minute_share_one_entry_with_their_count(cast: Cast) -> None:
    fail("k.osei", times=4)
    assert failures() == [("person:k.osei", 1)]
    later(seconds=61)
    fail("k.osei")
    assert failures() == [("person:k.osei", 1), ("person:k.osei", 4)]


def test_each_account_and_address_has_its_own_entry(cast: Cast) -> None:
    fail("k.osei", HERE)
    fail("k.osei", ELSEWHERE)
    fail("j.lind", HERE)
    assert failures() == [("person:k.osei", 1), ("person:k.osei", 1), ("person:j.lind", 1)]


def test_a_count_is_recorded_although_nobody_tries_again(cast: Cast) -> None:
    fail("k.osei", times=3)
    assert signin.tell_what_is_left() == 0
    later(seconds=61)
    assert signin.tell_what_is_left() == 1
    assert signin.tell_what_is_left() == 0
    assert failures() == [("person:k.osei", 1), ("person:k.osei", 2)]


def test_names_that_no_account_has_are_counted_together_and_never_written_down(cast: Cast) -> None:
    for guess in ("hunter2", "Tr0ub4dor", "nul\x00", "lone \ud800", "x" * 5000, ""):
        fail(guess)
    assert failures() == [("", 1)]
    later(seconds=61)
    signin.tell_what_is_left()
    assert failures() == [("", 1), ("", 5)]
    said = Entry.objects.filter(tag="signin.failed").last()
    assert said is not None
    assert said.record["words"] == "5 failed sign-ins for unknown names from 10.9.0.21."
    assert not Entry.objects.filter(payload__contains="hunter2").exists()
    assert not SignInFailures.objects.filter(account__contains="hunter2").exists()


@pytest.mark.parametrize("account", ["k.osei", "nobody.here"])
def test_the_tenth_failure_locks_this_account_from_this_address(cast: Cast, account: str) -> None:
    """For names that do not exist just the same, or the lock would tell which do."""
    fail(account, times=9)
    assert signin.refusal(account, HERE) is None
    later(seconds=90)
    fail(account)
    words = signin.refusal(account, HERE)
    assert words is not None
    assert words.startswith("Too many failed sign-ins for this account from your address. Try again in 3 min ")
    assert signin.refusal(account.upper(), HERE) is not None
    assert signin.refusal(account, ELSEWHERE) is None
    assert signin.refusal("j.lind", HERE) is None


def test_guessing_names_does_not_tell_which_exist(cast: Cast) -> None:
    """Were all unknown names one count, then after ten of them the eleventh would be refused and a real one not."""
    for number in range(10):
        fail(f"guess {number}")
    assert signin.refusal("guess 10", HERE) is signin.refusal("k.osei", HERE) is None


def test_the_lock_ends_with_its_five_minutes(cast: Cast) -> None:
    fail("k.osei", times=12)
    later(minutes=5)
    assert signin.refusal("k.osei", HERE) is None
    fail("k.osei", times=9)
    assert signin.refusal("k.osei", HERE) is None
    fail("k.osei")
    assert signin.refusal("k.osei", HERE) is not None


def test_a_whole_ipv6_network_counts_as_one_address(cast: Cast) -> None:
    for host in range(10):
        fail("k.osei", f"2001:db8:1:2::{host}")
    assert signin.refusal("k.osei", "2001:db8:1:2:ffff::1") is not None
    assert signin.refusal("k.osei", "2001:db8:1:3::1") is None
    assert Entry.objects.get(tag="signin.failed").record["actor"]["ip"] == "2001:db8:1:2::/64"


def test_thirty_wrong_codes_from_many_addresses_are_the_end_for_codes_alone(cast: Cast) -> None:
    for number in range(29):
        count = signin.record_failure if number % 2 else signin.count_failure
        count("k.osei", f"10.8.0.{number}", code=True)
    signin.record_failure("k.osei", "10.8.0.99")  # a password, which is no code
    signin.record_success(cast.osei, "10.8.0.1")  # somebody got in: that forgives no guess
    assert signin.refusal("k.osei", ELSEWHERE, code=True) is None
    signin.count_failure("K.Osei", "10.8.0.30", code=True)
    words = signin.refusal("k.osei", ELSEWHERE, code=True)
    assert words is not None
    assert words.startswith("Too many wrong codes for this account. Use a security key, or try again in ")
    assert signin.refusal("k.osei", ELSEWHERE) is signin.refusal("j.lind", ELSEWHERE, code=True) is None
    later(minutes=5)
    assert signin.refusal("k.osei", ELSEWHERE, code=True) is None


def test_an_address_that_is_none_still_counts(cast: Cast) -> None:
    fail("k.osei", "not an address", times=10)
    assert signin.refusal("k.osei", "") is not None
    assert Entry.objects.get(tag="signin.failed").record["words"].endswith("from an unknown address.")


def test_a_success_is_recorded_with_the_failures_before_it_and_starts_anew(cast: Cast) -> None:
    fail("k.osei", times=4)
    signin.record_success(cast.osei, HERE)
    entry = Entry.objects.get(tag="signin.succeeded")
    assert (entry.object, entry.actor, entry.record["actor"]["ip"]) == ("person:k.osei", "k.osei", HERE)
    assert entry.record["words"] == "Signed in, after 3 failed sign-ins more."
    fail("k.osei", times=9)
    assert signin.refusal("k.osei", HERE) is None


def test_a_sign_out_is_recorded(cast: Cast) -> None:
    signin.record_sign_out(cast.osei, HERE)
    assert Entry.objects.get(tag="signout").actor == "k.osei"


def test_guessed_names_do_not_pile_up(cast: Cast) -> None:
    for number in range(20):
        fail(f"guess {number}")
    later(minutes=6)
    signin.tell_what_is_left()
    later(minutes=2)
    fail("k.osei")
    assert list(SignInFailures.objects.values_list("account", flat=True)) == ["k.osei"]


def test_a_count_that_no_entry_has_is_not_forgotten(cast: Cast) -> None:
    fail("k.osei", times=3)
    later(minutes=6)
    fail("j.lind")
    signin.tell_what_is_left()
    assert failures() == [("person:k.osei", 1), ("person:j.lind", 1), ("person:k.osei", 2)]


def test_forgetting_does_not_shorten_the_minute_between_entries(cast: Cast) -> None:
    fail("nobody")
    later(minutes=4, seconds=30)
    fail("somebody")  # the second entry of this address's unknown names
    later(seconds=31)  # their window is over by now, their minute is not
    fail("anybody")
    assert failures() == [("", 1), ("", 1)]


@pytest.mark.django_db(transaction=True)
def test_failures_at_the_same_time_are_all_counted(cast: Cast) -> None:
    failed: list[Exception] = []
    ready = threading.Barrier(6)

    def attempt() -> None:
        try:
            ready.wait(timeout=30)
            fail("k.osei", times=3)
            fail("nobody", times=3)
        except Exception as error:  # noqa: BLE001 - a thread's error must reach the test
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert SignInFailures.objects.get(account="k.osei").count == 18
    later(seconds=61)
    signin.tell_what_is_left()
    assert sorted(failures()) == [("", 1), ("", 17), ("person:k.osei", 1), ("person:k.osei", 17)]
    assert chain.verify().ok

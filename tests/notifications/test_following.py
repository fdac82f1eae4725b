"""Channels that die, dawdle or refuse, and a follower that is killed at the worst moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from functools import partial
from io import StringIO
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection

from dashboard import env
from dashboard.audit.models import Entry
from dashboard.notifications import channels, follow
from dashboard.notifications.models import Channel, Delivery
from dashboard.notifications.told import told, troubles
from tests.faults.site import wait_for
from tests.notifications.ledger import asked, enrol, tell_all, time_passes, write

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "T0kenThatNobodyMaySee"


def objects(hook):
    return [notice["object"] for notice in hook.received]


@pytest.fixture
def both(settings, db, hook, other):
    settings.NOTIFY_URLS = {"chat": hook.url, "pager": other.url}
    enrol()
    return hook, other


@pytest.fixture
def patient(monkeypatch):
    """No message times out while its receiver is held; what its address says for that."""
    monkeypatch.setattr(channels, "PATIENCE", 60)
    monkeypatch.setattr(channels, "LONGEST", 60)
    return "rto=60"


def test_a_dead_channel_is_tried_again_and_gets_everything_in_order(both, cast):
    chat, pager = both
    chat.status = 503
    for number in ("FO-1001", "FO-1002", "FO-1003"):
        asked(cast.rivera, number)
    tell_all()
    assert objects(pager) == ["FO-1001", "FO-1002", "FO-1003"]
    assert objects(chat) == ["FO-1001"]  # its turn comes again only after a pause
    chat.status = 200
    time_passes(2)
    tell_all()
    assert objects(chat) == ["FO-1001", "FO-1001", "FO-1002", "FO-1003"]
    assert chat.received[0]["id"] == chat.received[1]["id"]


def test_an_answer_that_leads_elsewhere_is_not_followed(both, cast):
    chat, _ = both
    chat.status = 307
    asked(cast.rivera)
    tell_all()
    assert Delivery.objects.get(label="chat").error == "It answered 307."


def test_pauses_grow_to_a_minute_and_no_further(both, cast):
    chat, _ = both
    chat.status = 500
    asked(cast.rivera)
    pauses = []
    for _round in range(8):
        tell_all()
        row = Channel.objects.get(name="chat")
        pauses.append(round((row.due_at - Delivery.objects.get(label="chat").at).total_seconds()))
        time_passes(61)
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]


def test_an_outage_is_written_into_the_ledger_once_and_shown_until_it_ends(both, cast):
    chat, pager = both
    chat.status = 500
    asked(cast.rivera)
    tell_all()
    time_passes(110)
    tell_all()
    assert not troubles()
    for _round in range(3):
        time_passes(121)
        tell_all()
    entry = Entry.objects.get(tag="notice.failed")
    assert entry.object == "notice:chat"
    assert [(each.channel, each.words) for each in troubles()] == [("chat", "It answered 500.")]
    assert objects(pager) == ["FO-1042", "notice:chat"]  # the others tell that it is dead
    chat.status = 200
    time_passes(121)
    tell_all()
    assert not troubles()
    assert Entry.objects.filter(tag="notice.failed").count() == 1


def test_a_dead_mail_server_is_one_outage_however_many_wait_for_mail(settings, mail, cast):
    settings.NOTIFY_MAIL = "smtp+plain://127.0.0.1:1"
    asked(cast.rivera)
    tell_all()
    time_passes(121)
    tell_all()
    assert Entry.objects.filter(tag="notice.failed").count() == 1


def test_one_refused_mailbox_keeps_no_mail_from_the_others(mail, cast):
    mail.refused = {"j.lind@people.example"}
    asked(cast.rivera, "FO-1001")
    asked(cast.rivera, "FO-1002")
    tell_all()
    assert [to for to, _ in mail.received] == ["k.osei@people.example"] * 2
    assert Delivery.objects.get(label="mail to j.lind").error == "The mail server answered 550."


def test_nothing_that_fails_shows_a_part_of_an_address(settings, db, cast, caplog, capfd):
    caplog.set_level("DEBUG")
    caplog.set_level("DEBUG", "apprise")
    caplog.set_level("DEBUG", "urllib3")
    settings.NOTIFY_URLS = {
        "chat": f"json://user:{TOKEN}@127.0.0.1:1/{TOKEN}?+Authorization={TOKEN}",
        "odd": f"nosuchservice://{TOKEN}",
    }
    settings.NOTIFY_MAIL, settings.NOTIFY_FROM = f"smtp+plain://user:{TOKEN}@127.0.0.1:1", "desk@desk.example"
    cast.lind.person.email = "j.lind@people.example"
    cast.lind.person.save()
    enrol()
    asked(cast.rivera)
    tell_all()
    time_passes(121)
    tell_all()
    with pytest.raises(SystemExit):
        call_command("notify", "test")
    shown = [*capfd.readouterr(), *Entry.objects.values_list("payload", flat=True)]
    shown += [str(row) for model in (Channel, Delivery) for row in model.objects.values()]
    assert len(shown) > 10
    assert "odd: not taken. Its address is not one that Apprise knows." in shown[0]
    assert Delivery.objects.filter(ok=False).count() == 3
    assert not [text for text in shown if TOKEN in text]


def test_a_follower_killed_before_it_wrote_down_the_sending_sends_the_same_again(
    transactional_db, settings, cast, hook
):
    """SIGKILL while the receiver has the notice in its hands: the sender never hears of it."""
    settings.NOTIFY_URLS = {"chat": hook.url}
    enrol()
    asked(cast.rivera)
    child = subprocess.Popen(
        [sys.executable, "-c", f"import django; django.setup(); {_ONE_ROUND}"], cwd=ROOT, env=_environment(hook.url)
    )

    def kill() -> None:
        child.kill()
        child.wait(20)

    hook.before = kill
    assert child.wait(120) == -signal.SIGKILL
    hook.before = lambda: None
    assert [row.ok for row in Delivery.objects.all()] == [False]
    asked(cast.rivera, "FO-1043")
    time_passes(follow.TURN.total_seconds())
    tell_all()
    assert objects(hook) == ["FO-1042", "FO-1042", "FO-1043"]
    assert hook.received[0] == hook.received[1]


def test_two_followers_share_a_channel_without_sending_twice(transactional_db, settings, cast, hook, patient):
    settings.NOTIFY_URLS = {"chat": f"{hook.url}?{patient}"}
    enrol()
    asked(cast.rivera)
    arrived, leave = threading.Event(), threading.Event()

    def hold() -> None:
        arrived.set()
        assert leave.wait(60)

    hook.before = hold
    first = follow.Follower()
    first.once(patience=0)
    assert arrived.wait(60)
    assert not follow.tell(channels.configured()["chat"])
    leave.set()
    first.close()
    assert objects(hook) == ["FO-1042"]
    assert Delivery.objects.get().ok


def test_a_slow_channel_delays_no_other(transactional_db, settings, cast, hook, other, patient):
    settings.NOTIFY_URLS = {"chat": f"{hook.url}?{patient}", "pager": other.url}
    enrol()
    leave = threading.Event()
    hook.before = lambda: bool(leave.wait(60))
    follower = follow.Follower()
    try:
        for number in ("FO-1001", "FO-1002"):
            asked(cast.rivera, number)
            follower.once(patience=0)
            wait_for("the pager to be told", partial(told, number))
        assert [each.channel for each in told("FO-1002")] == ["pager"]
        assert told("FO-1001") == [each for each in told("FO-1001") if each.channel == "pager"]
    finally:
        leave.set()
        follower.close()


def test_the_test_notice_says_for_each_channel_what_came(both):
    both[1].status = 404
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("notify", "test", stdout=out)
    assert out.getvalue().splitlines() == ["chat: taken", "pager: not taken. It answered 404."]
    assert both[0].received[0]["title"] == "Failover Desk: test"


def test_the_cursor_never_turns_back(both, cast):
    asked(cast.rivera)
    tell_all()
    before = Channel.objects.get(name="chat").seq
    write("signin.succeeded", "person:x")
    tell_all()
    assert Channel.objects.get(name="chat").seq == before
    assert len(both[0].received) == 1


@pytest.mark.parametrize("text", ["slack://token", "Chat=json://x", "chat=json", "a=json://x a=json://y"])
def test_a_list_of_channels_that_cannot_be_meant_stops_the_program_without_showing_it(monkeypatch, text):
    monkeypatch.setenv("NOTIFY_URLS", f"{text}{TOKEN}")
    with pytest.raises(ImproperlyConfigured) as caught:
        env.named_urls("NOTIFY_URLS")
    assert "NOTIFY_URLS" in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_channels_are_separated_by_spaces_or_lines_because_addresses_hold_commas(monkeypatch):
    monkeypatch.setenv("NOTIFY_URLS", "chat=json://a/?to=x,y\n pager=xml://b")
    assert env.named_urls("NOTIFY_URLS") == {"chat": "json://a/?to=x,y", "pager": "xml://b"}


@pytest.mark.parametrize("text", ["desk.example", "ftp://desk.example", "https://", "https://desk example"])
def test_an_address_of_the_desk_that_no_link_can_lead_to_stops_the_program(monkeypatch, text):
    monkeypatch.setenv("DESK_URL", text)
    with pytest.raises(ImproperlyConfigured):
        env.address("DESK_URL", "https", "http")


_ONE_ROUND = "from dashboard.notifications import channels, follow; follow.tell(channels.configured()['chat'])"


def _environment(url: str) -> dict[str, str]:
    found = connection.settings_dict
    if connection.vendor == "sqlite":
        database = f"sqlite:///{found['NAME']}"
    else:
        user = f"{found['USER']}:{found['PASSWORD']}".rstrip(":")
        database = f"postgresql://{user}@/{found['NAME']}?host={found['HOST']}"
        database += f"&port={found['PORT']}" if found["PORT"] else ""
    return os.environ | {"DATABASE_URL": database, "NOTIFY_URLS": f"chat={url}"}

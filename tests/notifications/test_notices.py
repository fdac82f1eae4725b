"""What is told, to whom, and in what words; received by a real web hook and a real mail server."""

from __future__ import annotations

import json
import uuid

from dashboard.accounts.models import Group
from dashboard.accounts.people import actor_of
from dashboard.audit.models import Head
from dashboard.notifications import news
from dashboard.notifications.models import Channel, Delivery
from dashboard.notifications.told import tells_anybody, told
from tests.notifications.ledger import asked, broke_glass, enrol, tell_all, write


def instance() -> uuid.UUID:
    return Head.objects.get().instance


def recipients(post):
    return sorted(to.partition("@")[0] for to, _ in post.received)


def test_a_request_reaches_the_chat_with_its_reason_one_link_and_an_id(chat, cast):
    entry = asked(cast.rivera)
    tell_all()
    [notice] = chat.received
    assert notice["title"] == "FO-1042: Failover requested"
    assert "a.rivera: Asked to make dr-west:/dr/finance writable" in notice["message"]
    assert "Reason: dc1-prod lost power." in notice["message"]
    assert notice["message"].count("https://") == 1
    assert notice["link"] == "https://desk.example/failovers/FO-1042/"
    assert notice["id"] == f"failover-desk/{instance()}/{entry.seq}"


def test_mail_goes_to_those_who_can_decide_and_not_to_the_one_who_asked(mail, cast):
    entry = asked(cast.rivera)
    tell_all()
    assert recipients(mail) == ["j.lind", "k.osei"]
    to, letter = mail.received[0]
    assert letter["From"] == "desk@desk.example"
    assert letter["To"] == to
    assert letter["Message-ID"] == f"<{entry.seq}@{instance()}.failover-desk>"
    assert "Deciding needs a sign-in." in letter.get_payload()


def test_who_decided_is_not_told_what_they_did_but_the_requester_and_the_others_are(mail, cast):
    asked(cast.rivera)
    write("request.approved", "FO-1042", actor=actor_of(cast.osei), comment="Go.")
    tell_all()
    decided = sorted(to for to, letter in mail.received if "Approved" in letter["Subject"])
    assert decided == ["a.rivera@people.example", "j.lind@people.example"]


def test_only_the_approvers_of_the_groups_that_must_agree_get_mail(mail, cast):
    Group.objects.create(name="storage").members.add(cast.lind.person)
    asked(cast.rivera, groups=["storage"])
    tell_all()
    assert recipients(mail) == ["j.lind"]


def test_only_approvers_for_all_of_its_clusters_get_mail(mail, cast):
    cast.lind.roles = ["approver@dr-west"]
    cast.lind.save()
    asked(cast.rivera, clusters=["dr-west", "dr-east"])
    tell_all()
    assert recipients(mail) == ["k.osei"]


def test_of_break_glass_everybody_is_told_who_may_see_its_clusters(mail, cast):
    cast.viewer.roles = ["viewer@dr-east"]
    cast.viewer.save()
    broke_glass(cast.rivera)
    tell_all()
    assert recipients(mail) == ["admin", "j.lind", "k.osei", "m.okafor", "s.tanaka"]
    assert all("FO-1042 (break-glass): Break-glass" in letter["Subject"] for _, letter in mail.received)


def test_a_drill_is_marked_as_one_in_every_notice(chat, cast):
    asked(cast.rivera, mode="drill")
    write("failover.succeeded", "FO-1042")
    tell_all()
    assert [notice["title"] for notice in chat.received] == [
        "FO-1042 (drill): Failover requested",
        "FO-1042 (drill): The target is writable",
    ]


def test_a_hold_reaches_those_who_act_on_its_cluster(mail, cast):
    cast.tanaka.roles = ["operator@dr-east"]
    cast.tanaka.save()
    write("hold.set", "hold:dr-west", "A flood of alarms; nobody sends.", actor_of(cast.admin))
    tell_all()
    assert recipients(mail) == ["a.rivera", "j.lind", "k.osei"]


def test_what_concerns_nobody_is_told_to_nobody(chat, mail, cast):
    write("signin.succeeded", "person:a.rivera")
    write("cluster.tested", "cluster:dr-west")
    tell_all()
    assert chat.received == []
    assert mail.received == []


def test_a_channel_that_is_new_is_not_flooded_with_old_news(settings, db, cast, hook):
    asked(cast.rivera)
    settings.NOTIFY_URLS = {"chat": hook.url}
    enrol()
    asked(cast.rivera, "FO-1043")
    tell_all()
    assert [notice["object"] for notice in hook.received] == ["FO-1043"]


def test_a_channel_that_was_taken_out_and_comes_back_begins_anew(chat, settings, cast):
    urls = settings.NOTIFY_URLS
    settings.NOTIFY_URLS = {}
    enrol()
    assert not tells_anybody()
    asked(cast.rivera)
    settings.NOTIFY_URLS = urls
    enrol()
    tell_all()
    assert chat.received == []


def test_a_channel_keeps_its_place_when_its_token_is_replaced(chat, settings, cast, other):
    asked(cast.rivera)
    settings.NOTIFY_URLS = {"chat": other.url}
    tell_all()
    assert chat.received == []
    assert [notice["object"] for notice in other.received] == ["FO-1042"]


def test_what_a_hostile_cluster_or_person_wrote_can_act_nowhere(chat, cast):
    evil = "/dr/\u202e<!channel> @everyone [click](https://evil.example) <b>x</b>\n\nhttps://evil.example `rm`"
    asked(cast.rivera, words=f"Asked to make dr-west:{evil} writable", reason=evil)
    tell_all()
    text = chat.received[0]["title"] + chat.received[0]["message"].replace(chat.received[0]["link"], "")
    for sign in ("<", ">", "@", "[", "](", "://", "`", "\u202e"):
        assert sign not in text
    assert "\\u202e" in text
    assert "evil.example" in text  # nothing is hidden, it only does not act


def test_a_text_without_end_is_cut(chat, cast):
    asked(cast.rivera, reason="x" * 100_000)
    tell_all()
    assert len(chat.received[0]["message"]) < 1500


def test_items_of_one_request_that_end_together_are_one_message(chat, cast):
    asked(cast.rivera)
    tell_all()
    for position in range(1, 41):
        write("failover.sent" if position % 2 else "failover.succeeded", f"FO-1042/{position}")
    last = write("failover.concern", "FO-1042/41")
    tell_all()
    [_, notice] = chat.received
    assert notice["title"] == "FO-1042: 41 events"
    assert "20 × Make-writable is being sent" in notice["message"]
    assert "1 × Needs a person" in notice["message"]
    assert notice["id"].endswith(f"/{last.seq}")
    assert Delivery.objects.filter(message=last.seq, ok=True).count() == 41


def test_items_wait_a_moment_for_the_others_but_nothing_urgent_waits_for_them(chat, cast):
    write("failover.sent", "FO-1042/1")
    tell_all()
    assert chat.received == []
    asked(cast.rivera, "FO-1050")
    tell_all()
    assert [notice["object"] for notice in chat.received] == ["FO-1042/1", "FO-1050"]


def test_each_notice_says_which_target_it_is_about(chat, cast):
    asked(cast.rivera)
    write("failover.sent", "FO-1042", "Sending make-writable to dr-west")
    asked(cast.rivera, "FO-1043", clusters=["dr-west", "dr-east"])
    write("failover.concern", "FO-1043/2", "FO-1043/2 needs a person")
    tell_all()
    write("failover.concern", "FO-1043/9", "An item that it does not have")
    tell_all()
    second = [notice["message"].splitlines()[1] for notice in chat.received]
    assert second[1] == "dr-west:/dr/finance"
    assert second[2].startswith("Reason: ")
    assert second[3] == "dr-east:/dr/finance"
    assert not second[4].startswith("dr-")


def test_a_failover_of_its_own_is_told_at_once(chat, cast):
    write("failover.sent", "FO-1042")
    tell_all()
    assert [notice["tag"] for notice in chat.received] == ["failover.sent"]


def test_pages_can_say_who_was_told(chat, mail, cast):
    mail.refused = {"k.osei@people.example"}
    asked(cast.rivera)
    tell_all()
    assert [(each.channel, each.ok) for each in told("FO-1042")] == [
        ("mail to j.lind", True),
        ("mail to k.osei", False),
        ("chat", True),
    ]
    assert told("FO-104") == []


def test_an_entry_that_somebody_damaged_is_told_all_the_same(chat, cast):
    from tests.audit.ledger import tamper

    entry = asked(cast.rivera)
    tamper("UPDATE audit_entry SET payload = %s WHERE seq = %s", ["not JSON", entry.seq])
    tell_all()
    assert chat.received[0]["title"] == "FO-1042: Failover requested"


def test_every_tag_that_is_told_exists_in_the_ledger():
    from dashboard.audit.tags import Tag

    assert set(news.TOLD) <= {str(tag) for tag in Tag}


def test_the_cursor_passes_what_is_not_for_a_person(mail, cast):
    write("policy.proposed", "policy:finance", actor=actor_of(cast.rivera))
    tell_all()
    assert recipients(mail) == ["admin"]
    assert len(set(Channel.objects.values_list("seq", flat=True))) == 1
    assert json.dumps([to for to, _ in mail.received]).count("admin") == 1

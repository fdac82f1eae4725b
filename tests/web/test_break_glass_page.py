"""Breaking the glass: offered only where a policy allows it, proved again, marked for ever, and reviewed by others."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from dashboard.accounts.models import User
from dashboard.audit.models import Entry
from dashboard.failovers.lifecycle import State
from dashboard.failovers.models import Failover, Policy, Request
from tests.conftest import PASSWORD
from tests.failovers.desk import REASON, Desk, pass_time
from tests.web.fleet import Element, browser, parsed
from tests.web.several import ASK, form, page_of, site


@pytest.fixture
def allowed(desk: Desk) -> Desk:
    Policy.objects.create(name="emergency", shares=[{"group": "", "count": 1}], break_glass=True)
    return desk


def address(desk: Desk) -> str:
    return reverse("fail-over", args=("dr", desk.row.relationship_id))


def hidden(root: Element, action: str) -> dict[str, str]:
    form = next(each for each in root.all("form") if each.attrs.get("action", "").endswith(action))
    found = form.all("input", type="hidden")
    return {each.attrs["name"]: each.attrs["value"] for each in found if each.attrs["name"] != "csrfmiddlewaretoken"}


def break_glass(desk: Desk, user: User, **more: str) -> Any:
    client = browser(user)
    sent = hidden(parsed(client.get(address(desk))), "/fail-over/")
    said = {"typed": "/dr/finance", "reason": REASON, "ticket": "", "mode": "unplanned", "act": "break-glass"}
    return client.post(address(desk), sent | said | {"confirm_password": PASSWORD} | more)


def test_a_confirmation_for_one_relationship_breaks_no_glass_on_another(allowed: Desk, cast: Any) -> None:
    rows = site(allowed, "a", "b")
    one, other = (f"/relationships/dr/{row.relationship_id}/fail-over/" for row in rows[:2])
    client = browser(cast.rivera)
    sent = hidden(parsed(client.get(one)), "/fail-over/")
    said = {"typed": rows[1].target_root_path.rstrip("/"), "reason": REASON, "ticket": "", "mode": "unplanned"}
    answer = client.post(other, sent | said | {"act": "break-glass", "confirm_password": PASSWORD})
    assert answer.status_code == 422
    assert "This confirmation was made for something else" in answer.content.decode()
    assert not Request.objects.exists()


@pytest.fixture
def broken(allowed: Desk, cast: Any) -> Request:
    assert break_glass(allowed, cast.rivera).status_code == 303
    return Request.objects.get()


def review(asked: Request, user: User, **more: str) -> Any:
    client, page = browser(user), f"/failovers/{asked.number}/"
    sent = hidden(parsed(client.get(page)), "/review/")
    said = {"comment": "It was right: nobody answered for ten minutes.", "confirm_password": PASSWORD}
    return client.post(f"{page}review/", sent | said | more)


# ── Breaking it ──


def test_it_is_not_offered_where_no_policy_allows_it(desk, cast):
    assert parsed(browser(cast.rivera).get(address(desk))).all(id="break-glass") == []


def test_it_is_folded_says_what_it_means_and_is_the_only_red_button(allowed, cast):
    root = parsed(browser(cast.rivera).get(address(allowed)))
    fold = root.one("details", id="break-glass")
    assert "open" not in fold.attrs
    assert "Break-glass runs the failover now, on your name alone." in fold.text
    assert "two other people must review it within 24 h" in fold.text
    assert [button.attrs["value"] for button in root.all("button", "danger")] == ["break-glass"]
    assert fold.one("div", "glass").all("input", name="confirm_password")


def test_it_starts_at_once_on_one_name(allowed, cast):
    answer = break_glass(allowed, cast.rivera)
    asked = Request.objects.get()
    assert answer["Location"] == f"/failovers/{asked.number}/"
    assert asked.break_glass
    assert asked.failovers.get().state == State.APPROVED
    told = Entry.objects.get(tag="request.break-glass")
    assert told.object == asked.number
    assert "confirmed with password" in Entry.objects.get(tag="request.made").payload


@pytest.mark.parametrize(
    ("more", "field"),
    [({"confirm_password": ""}, "confirm"), ({"confirm_password": "x"}, "confirm"), ({"mode": "drill"}, "mode")],
)
def test_it_does_not_start_without_proof_or_for_practice(allowed, cast, more, field):
    answer = break_glass(allowed, cast.rivera, **more)
    root = page_of(answer)
    assert answer.status_code == 422
    assert root.one(id=f"{field}-e").text
    assert root.one("textarea", id="reason").text == REASON
    assert Request.objects.count() == 0


def test_it_does_not_start_where_no_policy_allows_it_whatever_is_posted(desk, cast):
    client = browser(cast.rivera)
    sent = hidden(parsed(client.get(address(desk))), "/fail-over/")
    said = {"typed": "/dr/finance", "reason": REASON, "ticket": "", "mode": "unplanned", "act": "break-glass"}
    assert client.post(address(desk), sent | said | {"confirm_password": PASSWORD}).status_code == 422
    assert Request.objects.count() == 0


# ── The mark ──


def test_it_is_marked_wherever_it_appears(allowed, broken, cast):
    page = parsed(browser(cast.viewer).get(f"/failovers/{broken.number}/"))
    assert page.one("h1").one("span", "glass-tag").text == "Break-glass"
    assert "glass" in page.one("div", "page-head").classes
    listed = parsed(browser(cast.osei).get("/approvals/"))
    assert [each.text for each in listed.all("span", "glass-tag")] == ["Break-glass"] * 2  # to review, and decided
    assert "Glass broken" in page.one("ol", "steps").text
    assert "Nobody: break-glass" in page.text
    history = parsed(browser(cast.viewer).get(address(allowed).removesuffix("fail-over/")))
    assert [each.text for each in history.all("span", "glass-tag")] == ["Break-glass"]
    badge = parsed(browser(cast.viewer).get("/")).one("a", "badge")
    assert badge.text == f"{broken.number} Break-glass"
    assert "glass-tag" in badge.classes
    assert "Break-glass running" in parsed(browser(cast.viewer).get("/wall/")).text


def test_a_drill_is_marked_wherever_it_appears(desk, cast):
    asked = desk.request(mode="drill")
    for path in (f"/failovers/{asked.number}/", "/approvals/"):
        assert parsed(browser(cast.osei).get(path)).one("span", "drill-tag").text == "Drill"
    assert parsed(browser(cast.viewer).get("/")).one("a", "badge").text == f"{asked.number} Drill 0/1"
    desk.approve(asked)
    assert "Drill running" in parsed(browser(cast.viewer).get("/wall/")).text
    assert parsed(browser(cast.osei).get("/approvals/")).one("tbody").one("span", "drill-tag").text == "Drill"


# ── The review ──


def test_two_others_review_it(broken, cast):
    page = parsed(browser(cast.osei).get(f"/failovers/{broken.number}/"))
    assert "Review due in 23 h 59 min." in page.one(id="review").text
    assert "0 of 2 reviews done." in page.one(id="review").text
    for user, done in ((cast.osei, 1), (cast.okafor, 2)):
        assert review(broken, user).status_code == 303
        told = parsed(browser(cast.viewer).get(f"/failovers/{broken.number}/")).one(id="review").text
        assert f"{done} of 2 reviews done." in told
        assert f"Reviewed by {user.person.label}" in told
    assert "It has been reviewed." in told
    assert parsed(browser(cast.osei).get("/approvals/")).all("article", "glass") == []


def test_whoever_broke_it_does_not_review_it(broken, cast):
    cast.rivera.roles = ["operator", "approver"]
    cast.rivera.save()
    client, page = browser(cast.rivera), f"/failovers/{broken.number}/"
    root = parsed(client.get(page))
    assert root.all("button", id="review-made") == []
    assert "You started it; others must review it." in root.one(id="review").text
    answer = client.post(f"{page}review/", {"comment": "All well."})
    assert answer.status_code == 422
    assert broken.reviews.count() == 0


def test_a_review_needs_its_words_and_its_proof(broken, cast):
    for more, field in (({"comment": " "}, "comment"), ({"confirm_password": "x"}, "confirm")):
        answer = review(broken, cast.osei, **more)
        assert answer.status_code == 422
        assert page_of(answer).one(id=f"{field}-e").text
    assert broken.reviews.count() == 0
    assert Entry.objects.latest("seq").tag == "confirm.refused"


def test_nobody_reviews_twice(broken, cast):
    assert review(broken, cast.osei).status_code == 303
    root = parsed(browser(cast.osei).get(f"/failovers/{broken.number}/"))
    assert root.all("button", id="review-made") == []


def test_an_overdue_review_stands_on_every_page(broken, cast):
    for path in ("/", "/approvals/"):
        assert "is overdue" not in parsed(browser(cast.osei).get(path)).text
    pass_time(24 * 3600 + 60)
    for path in ("/", "/approvals/", "/audit/", f"/failovers/{broken.number}/"):
        root = parsed(browser(cast.osei).get(path))
        links = [each.attrs["href"] for each in root.one("main").all("section", "banner") for each in each.all("a")]
        assert f"/failovers/{broken.number}/#review" in links, path


def test_several_can_be_started_by_break_glass_and_are_marked_each(allowed, cast):
    rows = site(allowed, "a", "b")
    client = browser(cast.rivera)
    root = parsed(client.get(ASK + "?" + "&".join(f"r={row.pk}" for row in rows)))
    sent = form(rows, act="break-glass", confirm_password=PASSWORD) | hidden(root, "/fail-over/")
    assert client.post(ASK, sent).status_code == 303
    asked = Request.objects.get()
    assert set(Failover.objects.values_list("state", flat=True)) == {State.APPROVED}
    for path in ("", "2/"):
        page = parsed(browser(cast.viewer).get(f"/failovers/{asked.number}/{path}"))
        assert page.one("h1").one("span", "glass-tag").text == "Break-glass"

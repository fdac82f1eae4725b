"""What stands on every page: the way to the others, what waits, what is held, and who is signed in."""

from __future__ import annotations

from typing import Any

import pytest
from django.template import engines
from django.test import RequestFactory
from django.utils import timezone

from dashboard.accounts.models import User
from dashboard.failovers.models import Hold
from tests.conftest import Cast

pytestmark = pytest.mark.django_db


def page(user: User, **context: Any) -> str:
    request = RequestFactory().get("/here/?q=a&b=c")
    request.user = user
    return str(engines["django"].from_string('{% extends "base.html" %}').render(context, request))


def test_the_ways_shown_are_the_ones_that_are_open(cast: Cast) -> None:
    assert 'href="/audit/"' not in page(cast.rivera)
    assert 'href="/clusters/"' not in page(cast.lind)
    for user in (cast.lind, cast.okafor, cast.admin):
        assert 'href="/audit/"' in page(user), user
    assert 'href="/clusters/"' in page(cast.admin)
    for always in ("/", "/approvals/", "/wall/"):
        assert f'href="{always}"' in page(cast.viewer), always


def test_the_page_that_one_is_on_is_marked(cast: Cast) -> None:
    assert page(cast.viewer).count('aria-current="page"') == 0
    assert 'href="/approvals/" aria-current="page"' in page(cast.viewer, section="approvals")


def test_a_hold_is_on_every_page_until_it_is_lifted(cast: Cast) -> None:
    hold = Hold.objects.create(scope="dr-west", reason="Migration <tonight>.", by="admin", at=timezone.now())
    shown = page(cast.viewer)
    assert "Held: nothing is sent to dr-west." in shown
    assert "Migration &lt;tonight&gt;." in shown
    Hold.objects.filter(pk=hold.pk).update(lifted_at=timezone.now())
    assert "nothing is sent" not in page(cast.viewer)


def test_behind_a_dialog_without_a_script_everything_is_inert(cast: Cast) -> None:
    assert page(cast.viewer, modal=True).count(" inert>") == 2
    assert " inert>" not in page(cast.viewer)


def test_the_page_asks_its_database_little(cast: Cast, django_assert_max_num_queries: Any, with_redis: str) -> None:
    def whoever(account: User) -> User:
        return User.objects.select_related("person").get(pk=account.pk)

    viewer, admin = whoever(cast.viewer), whoever(cast.admin)
    with django_assert_max_num_queries(3):  # pulse, holds, overdue reviews
        page(viewer)
    page(admin)  # lint looks at everything, and what it found is kept for all admins and probes
    with django_assert_max_num_queries(6):  # and dead channels, the last checkpoint, where it did not arrive
        page(admin)


def test_signing_in_again_leads_back_to_this_page(cast: Cast) -> None:
    assert 'href="/sign-in/?next=/here/%3Fq%3Da%26b%3Dc" target="_blank"' in page(cast.viewer)


def test_signing_out_is_a_form_with_a_token(cast: Cast) -> None:
    form = page(cast.viewer).partition('action="/sign-out/"')[2].partition("</form>")[0]
    assert "csrfmiddlewaretoken" in form

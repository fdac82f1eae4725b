"""What a form carries when somebody confirms that it is still them, as their browser would send it."""

from __future__ import annotations

from typing import Any

from django.test import Client, RequestFactory

from dashboard.accounts.models import User
from dashboard.web import confirm
from tests.conftest import PASSWORD


def asked_by(client: Client, **post: str) -> Any:
    """A request of this browser, as a view gets it."""
    session = client.session
    request = RequestFactory().post("/", post)
    request.session, request.user = session, User.objects.get(pk=session["_auth_user_id"])
    return request


def confirmed(client: Client, operation: str, digest: str, password: str = PASSWORD) -> dict[str, str]:
    """The fields for a form of a browser that is signed in (`tests.web.fleet.browser`)."""
    ticket = confirm.ticket(asked_by(client), operation, digest)
    return {"confirm_ticket": ticket, "confirm_password": password}

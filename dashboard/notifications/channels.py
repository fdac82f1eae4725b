"""Where notices go and how one is handed over: Apprise for chats and webhooks, SMTP for the mail to a person.

A channel is known by its name everywhere. Its address holds tokens and passwords; it is read from the settings when
something is sent, and no log line, page, row or error holds any part of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import unquote, urlsplit

from apprise import Apprise, AppriseAsset, AppriseResultStatus, NotifyFormat
from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.smtp import EmailBackend

from dashboard.accounts.models import User
from dashboard.notifications.news import Message

PATIENCE = 10  # seconds for one exchange on the wire
LONGEST = 20  # seconds for a whole message
_HTTP = re.compile(r"error=(\d{3})\b")  # as Apprise's services write it


class Failed(Exception):
    """It was not taken, or nobody knows; `words` is a class of error without any part of an address."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


@dataclass(frozen=True, slots=True)
class Target:
    """`send` returns when the receiver's server has taken the message, else raises Failed."""

    name: str
    label: str
    person: int | None
    send: Callable[[Message], None]


def configured() -> dict[str, Target]:
    """Every channel that the settings and the people's addresses name, by name."""
    found = {name: Target(name, name, None, partial(_tell, url)) for name, url in settings.NOTIFY_URLS.items()}
    if settings.NOTIFY_MAIL:
        for user in User.objects.filter(is_active=True, person__email__gt="").select_related("person"):
            person, name = user.person, f"mail:{user.person_id}"
            found[name] = Target(name, f"mail to {person.label}", person.pk, partial(_mail, str(person.email)))
    return found


# ── Apprise ──────────────────────────────────────────────────────────────────


def _tell(url: str, message: Message) -> None:
    asset = AppriseAsset(
        app_id="Failover Desk",
        app_desc="Failover Desk",
        async_mode=False,
        http_redirects=False,
        service_timeout=LONGEST,
    )
    service = Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if service is None:
        raise Failed("Its address is not one that Apprise knows.")
    service.socket_connect_timeout = min(service.socket_connect_timeout, PATIENCE)
    service.socket_read_timeout = min(service.socket_read_timeout, PATIENCE)
    # Webhooks and mail have room for the id beside the text; in a chat the number of the entry must do.
    if hasattr(service, "payload_extras"):
        service.payload_extras |= {
            "id": message.id,
            "entry": str(message.seq),
            "tag": message.tag,
            "object": message.object,
            "link": message.link,
        }
    elif hasattr(service, "headers") and hasattr(service, "smtp_host"):
        service.headers["X-Failover-Desk-Id"] = message.id
    result = Apprise([service], asset=asset).notify(
        title=message.title, body=message.body, body_format=NotifyFormat.TEXT
    )
    if not result:
        said = " ".join(str(line.message) for each in result.results for line in each.logs())
        raise Failed(_class_of(result.status, said))


def _class_of(status: AppriseResultStatus, said: str) -> str:
    if status == AppriseResultStatus.TIMEOUT:
        return f"No answer within {LONGEST} s."
    http = _HTTP.search(said)
    return f"It answered {http[1]}." if http else "It could not be reached, or refused."


# ── Mail ─────────────────────────────────────────────────────────────────────


def _mail(to: str, message: Message) -> None:
    """`Message-ID` is made from the id, so a mail server or reader that gets it twice shows it once. Django's own SMTP,
    because Apprise gives each mail an id of chance."""
    instance, seq = message.id.split("/")[1:]
    try:
        mail = EmailMessage(
            subject=message.title,
            body=message.body,
            from_email=settings.NOTIFY_FROM,
            to=[to],
            headers={"Message-ID": f"<{seq}@{instance}.failover-desk>", "X-Failover-Desk-Id": message.id},
            connection=_post_office(),
        )
        mail.send()
    except Exception as error:  # noqa: BLE001  smtplib, ssl, sockets: what each says may hold the address
        code = getattr(error, "smtp_code", None)
        refused = getattr(error, "recipients", None)
        if isinstance(refused, dict) and refused:
            code = next(iter(refused.values()))[0]
        raise Failed(f"The mail server answered {code}." if code else type(error).__name__) from None


def _post_office() -> EmailBackend:
    """`smtps://` is TLS from the first byte, `smtp://` STARTTLS, `smtp+plain://` neither."""
    url = urlsplit(settings.NOTIFY_MAIL)
    port = {"smtps": 465, "smtp": 587}.get(url.scheme, 25)
    return EmailBackend(
        host=url.hostname or "",
        port=url.port or port,
        username=unquote(url.username or ""),
        password=unquote(url.password or ""),
        use_ssl=url.scheme == "smtps",
        use_tls=url.scheme == "smtp",
        timeout=PATIENCE,
    )

"""The words and small parts that every page is made of; built in, so that no template loads it.

All markup is built with `format_html`, so whatever a cluster sent is escaped. Paths and other text of a cluster also go
through `visible`: a name with control or direction characters cannot pose as another. A time that passes is a
`<time data-rel>`: clock.js writes on what is written here, in the same words.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from dashboard import words

register = template.Library()

HEALTH_WORDS = {
    "critical": gettext_noop("Critical"),
    "warning": gettext_noop("Warning"),
    "active": gettext_noop("Active"),
    "unknown": gettext_noop("Unknown"),
    "normal": gettext_noop("Normal"),
    "inactive": gettext_noop("Inactive"),
}
STATE_WORDS = {
    "ESTABLISHED": gettext_noop("Established"),
    "AWAITING_AUTHORIZATION": gettext_noop("Awaiting authorization"),
    "RECONNECTING": gettext_noop("Reconnecting"),
    "REESTABLISHING": gettext_noop("Re-establishing"),
    "DISCONNECTING": gettext_noop("Disconnecting"),
    "DISCONNECTED": gettext_noop("Disconnected"),
    "ENDED": gettext_noop("Ended"),
}
# Verdict of a check → (colour, silhouette, word).
VERDICTS = {
    "pass": ("good", "c-pass", gettext_noop("Pass")),
    "warn": ("warning", "h-warning", gettext_noop("Warning")),
    "block": ("critical", "c-block", gettext_noop("Block")),
    "skip": ("normal", "h-inactive", gettext_noop("Skipped")),
}


# ── Words ──


@register.filter
def dur(length: timedelta | float | None) -> str:
    """A length of time in its two largest units, `34 min 20 s`; "" for None. It does not tick."""
    return "" if length is None else words.duration(length)


@register.filter("bytes")
def bytes_(size: float | None) -> str:
    """`41.2 GB`: powers of 1000, three digits; "" for None."""
    return "" if size is None else words.size(size)


@register.filter
def rate(per_second: float | None) -> str:
    """`118 MB/s`; "" for None."""
    return "" if per_second is None else f"{bytes_(per_second)}/s"


@register.filter
def count(number: int | None) -> str:
    """`18,204`; "" for None."""
    return "" if number is None else f"{number:,}"


@register.filter
def percent(part: float | None) -> str:
    """`64 %`, rounded down so that nothing unfinished reads 100 %; "" for None."""
    return "" if part is None else f"{int(part)} %"


@register.filter
def health_word(health: str) -> str:
    return _(HEALTH_WORDS.get(health, health))


@register.filter
def state_word(state: str) -> str:
    """The word of a replication state; one that a later release of the API adds is shown as it came."""
    return _(STATE_WORDS[state]) if state in STATE_WORDS else words.visible(state)


@register.filter
def visible(text: str | None) -> str:
    """Text of a cluster with control and direction characters made visible."""
    return words.visible(text or "")


@register.filter
def path(raw: str) -> SafeString:
    """A path as it is shown everywhere: visible, without one trailing slash, in a direction of its own."""
    return format_html("<bdi>{}</bdi>", words.bare(raw))


@register.filter
def leaf(raw: str) -> str:
    """The last part of a path, which stands for it on the wall."""
    return words.bare(raw).rsplit("/", 1)[-1] or "/"


# ── Times ──


@register.filter
def iso(moment: datetime | None) -> str:
    """For `datetime` and data attributes: UTC with seconds; "" for None."""
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


@register.filter
def utc(moment: datetime | None) -> SafeString | str:
    """`02:42:00 UTC`, with its date when that is not today; "" for None."""
    if moment is None:
        return ""
    return format_html(
        '<time datetime="{}" data-rel="clock">{}</time>', iso(moment), words.clock(moment, timezone.now())
    )


@register.filter
def clocktime(moment: datetime | None) -> SafeString | str:
    """`02:42:00` for columns that say UTC in their head, with its date (no year) when that is not today."""
    if moment is None:
        return ""
    at = moment.astimezone(UTC)
    shown = f"{at:%H:%M:%S}" if at.date() == timezone.now().date() else f"{at:%m-%d %H:%M:%S}"
    return format_html('<time datetime="{}">{}</time>', iso(moment), shown)


@register.filter
def age(moment: datetime | None) -> SafeString | str:
    """How long ago, ticking: `34 min 20 s`; "" for None. For what no longer grows use `dur`."""
    return "" if moment is None else _ticking(moment, "age", timezone.now() - moment)


@register.filter
def left(moment: datetime | None) -> SafeString | str:
    """How long until then, ticking down to `0 s`; "" for None."""
    return "" if moment is None else _ticking(moment, "left", moment - timezone.now())


def _ticking(moment: datetime, kind: str, length: timedelta) -> SafeString:
    return format_html('<time datetime="{}" data-rel="{}">{}</time>', iso(moment), kind, words.duration(length))


@register.simple_tag
def observed(moment: datetime | None, kind: str = "age") -> SafeString:
    """Age (or, with "clock", the time) of the newest data on the page; clock.js moves it on with each answer. It may
    come into being later, so there is a `<time>` even when nothing was ever read."""
    if moment is None:
        shown = _("an unknown time")
    else:
        now = timezone.now()
        shown = words.duration(now - moment) if kind == "age" else words.clock(moment, now)
    return format_html('<time datetime="{}" data-rel="{}" data-observed>{}</time>', iso(moment), kind, shown)


@register.simple_tag
def reason(text: str, since: datetime | None) -> SafeString | str:
    """A reason of a grade, with `{for}` and `{at}` filled in from `since`."""
    if since is None:
        return text
    before, mark, after = text.partition("{for}")
    if mark:
        return format_html("{}{}{}", before, age(since), after)
    return text.replace("{at}", f"{since.astimezone(UTC):%H:%M} UTC")


# ── Parts ──


@cache
def _sprite() -> str:
    return static("img/icons.svg")


@register.simple_tag
def icon(name: str, cls: str = "i") -> SafeString:
    """A symbol of static/img/icons.svg; decoration, so the word always stands beside it."""
    return format_html('<svg class="{}" aria-hidden="true"><use href="{}#{}"/></svg>', cls, _sprite(), name)


@register.simple_tag
def health(grade: str, word: str = "", *, flat: bool = False) -> SafeString:
    """Health tag: silhouette, word, colour. `flat` is for history. `good` is an answer and needs its `word`."""
    return format_html(
        '<span class="tag{}" data-health="{}">{}{}</span>',
        " flat" if flat else "",
        grade,
        icon("c-pass" if grade == "good" else f"h-{grade}"),
        word or health_word(grade),
    )


@register.simple_tag
def state(name: str) -> SafeString:
    """Replication state: glyph and word, never coloured. A state that is not known here gets the glyph of
    none."""
    if name not in STATE_WORDS:
        return format_html('<span class="state">{}<code>{}</code></span>', icon("h-unknown"), state_word(name))
    return format_html('<span class="state">{}{}</span>', icon(f"s-{name}", "g"), state_word(name))


@register.simple_tag
def access(*, read_only: bool | None, quiet: bool = False) -> SafeString:
    """Lock and word. `quiet` is for a source, which is expected to be writable."""
    if read_only is None:
        return format_html('<span class="access">{}{}</span>', icon("h-unknown"), _("Not known"))
    if read_only:
        return format_html('<span class="access">{}{}</span>', icon("i-lock"), _("Read-only"))
    return format_html(
        '<span class="access{}">{}{}</span>', "" if quiet else " writable", icon("i-open"), _("Writable")
    )


@register.simple_tag
def gauge(ratio: float, grade: str, label: str, *, since: datetime | None = None, objective: float = 0) -> SafeString:
    """Age of a recovery point from 0 to twice its objective (`ratio` 1 is the objective). With `since` and `objective`
    (seconds) it grows in the browser; without, it stays as it is."""
    shown = min(max(ratio, 0), 2)
    return format_html(
        '<svg class="gauge" role="meter" aria-valuemin="0" aria-valuemax="2" aria-valuenow="{}" aria-valuetext="{}"'
        ' data-health="{}"{}><rect class="track" width="100%" height="75%" y="12%"/>'
        '<rect class="used" width="{}%" height="75%" y="12%"/>'
        '<rect class="over" x="50%" width="{}%" height="75%" y="12%"/>'
        '<rect class="tick" x="49.5%" width="1%" y="-12%" height="124%"/></svg>',
        f"{shown:.2f}",
        label,
        grade,
        format_html(' data-since="{}" data-objective="{}"', iso(since), int(objective)) if since and objective else "",
        f"{min(shown, 1) * 50:.1f}",
        f"{max(shown - 1, 0) * 50:.1f}",
    )


@register.simple_tag
def check(verdict: str, title: str, text: str = "") -> SafeString:
    """One line of `<ul class="checks">`. `verdict`: pass, warn, block, skip."""
    colour, shape, word = VERDICTS[verdict]
    return format_html(
        '<li data-health="{}">{}<span><span class="verdict">{}:</span> {}</span>{}</li>',
        colour,
        icon(shape),
        _(word),
        title,
        format_html("<p>{}</p>", text) if text else "",
    )


@register.simple_tag
def poll(url: str, seen: str, cadence: float | None) -> SafeString | str:
    """The attributes of a polled root, or nothing when `cadence` (seconds) is None: then it can change no more.

    Raises ValueError for a URL whose path does not end in /live/: signed out, such a one would be answered with a page.
    """
    if cadence is None:
        return ""
    if not url.partition("?")[0].endswith("/live/"):
        raise ValueError(f"{url} is polled, so it must end in /live/.")
    return format_html(
        # The target is named, since htmx inherits it: inside a form that has one, an answer would replace the dialog.
        'hx-get="{}{}{}" hx-trigger="every {}s, poll" hx-target="this" hx-swap="outerHTML"',
        url,
        "&" if "?" in url else "?",
        urlencode({"seen": seen}),
        f"{cadence:g}",
    )

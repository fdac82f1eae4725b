"""The wall: a screen that nobody touches, so everything has to fit. Laid out here, in the units of its canvas (120 ×
67.5 rem), because a screen that scrolls hides what is worst.

Up to about two dozen relationships each cluster is a column of tiles; above that, relationships are lamps in fixed
places and the worst of them a list. What does not fit is counted. A silent cluster is one tile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.fleet.health import Grade
from dashboard.fleet.models import Cluster, Relationship
from dashboard.web.rows import Age, age_of, is_stale, read_age
from dashboard.web.templatetags.desk import health_word, leaf, state_word
from dashboard.words import duration

TILED_ROWS, TILED_CLUSTERS = 24, 6
LISTED = 7

# Heights in rem, from the wall's part of app.css.
_COLUMN = 47.0
_TILE, _LINE, _CALM, _PLAIN, _MORE = 5.6, 2.5, 4.1, 3.2, 4.6
_MARK = 7  # letters: the room that the mark takes, and that a name, being larger, needs more
_COLUMNS_WIDTH, _COLUMN_GAP, _TILE_EDGE, _LETTER = 83.0, 1.25, 1.7, 1.05  # of a letter in the widest font
_LAMP, _LAMP_GAP = 2.6, 0.35
_GRID_WIDTH, _GRID_HEIGHT, _GRID_GAP, _GRID_HEAD = 71.0, 33.5, 1.75, 3.5
_LIT = (Grade.CRITICAL, Grade.WARNING, Grade.ACTIVE)
_ATTENTION = (Grade.CRITICAL, Grade.UNKNOWN, Grade.WARNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A relationship, or a silent cluster, that is not calm. `percent` draws a bar."""

    health: str
    name: str
    lines: tuple[str, ...] = ()
    percent: int | None = None
    when: str = ""

    def height(self, holds: int) -> float:
        """With so many letters to a line; a longer line takes two."""
        lines = sum(1 + (len(line) > holds) for line in self.lines) + (self.percent is not None)
        return _TILE + _LINE * lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Calm:
    """A quiet row. With `age` it has a gauge."""

    health: str
    name: str
    percent: str = ""
    age: Age | None = None

    @property
    def height(self) -> float:
        return _CALM if self.age else _PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A cluster. A name longer than `short` is written smaller. `more` counts what did not fit, in words."""

    name: str
    count: int
    silent: bool
    short: int
    tiles: list[Tile]
    calm: list[Calm]
    more: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamps:
    """A cluster as lamps, worst first. `more`: so many are not drawn."""

    name: str
    count: int
    silent: bool
    cells: list[str]
    more: int
    attention: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """All clusters as lamps, in `columns` × `rows` fields, and the worst as a list."""

    columns: int
    rows: int
    fields: list[Lamps]
    more: str
    worst: list[Tile]
    not_shown: str


def tiled(rows: Sequence[Relationship], clusters: Sequence[Cluster]) -> bool:
    return len(rows) <= TILED_ROWS and len(clusters) <= TILED_CLUSTERS


def columns(rows: Sequence[Relationship], clusters: Sequence[Cluster], now: datetime) -> list[Column]:
    """One for each cluster, in the order in which they were added; `rows` worst first."""
    holds = letters(max(len(clusters), 1))
    return [_column(cluster, [row for row in rows if row.cluster_id == cluster.pk], now, holds) for cluster in clusters]


def grid(rows: Sequence[Relationship], clusters: Sequence[Cluster], now: datetime) -> Grid:
    own = {cluster.pk: [row for row in rows if row.cluster_id == cluster.pk] for cluster in clusters}
    across, down = _shape(len(clusters))
    places = across * down
    kept = sorted(clusters, key=lambda c: (min((row.grade_rank for row in own[c.pk]), default=len(Grade)), c.pk))[
        :places
    ]
    width = (_GRID_WIDTH - _GRID_GAP * (across - 1)) / across
    height = (_GRID_HEIGHT - _GRID_GAP * (down - 1)) / down - _GRID_HEAD
    room = max(int((width + _LAMP_GAP) / (_LAMP + _LAMP_GAP)) * int((height + _LAMP_GAP) / (_LAMP + _LAMP_GAP)), 2)
    fields = [_lamps(cluster, own[cluster.pk], room) for cluster in sorted(kept, key=lambda c: c.pk)]
    left_out = len(clusters) - len(kept)
    worst = _worst(rows, clusters, now)
    return Grid(
        columns=across,
        rows=down,
        fields=fields,
        more=ngettext("%d more cluster", "%d more clusters", left_out) % left_out if left_out else "",
        worst=worst[:LISTED],
        not_shown=_("%s not shown") % _counted(tile.health for tile in worst[LISTED:]) if worst[LISTED:] else "",
    )


def coarse(length: timedelta) -> str:
    """`34 min`, never broken between two lines: from five metres nobody reads seconds that change."""
    minutes = length // timedelta(minutes=1)
    return duration(timedelta(minutes=minutes) if minutes else length).replace(" ", "\u00a0")


def nearest(rows: Iterable[Relationship], now: datetime) -> tuple[Relationship, timedelta] | None:
    """The row whose recovery point is furthest beyond, or nearest to, its objective, and its age."""
    kept = (row for row in rows if row.state not in ("ENDED", "DISCONNECTED") and not is_stale(row))
    ages = [(row, age) for row in kept if (age := read_age(row, now)) is not None and age >= timedelta()]
    return max(ages, key=lambda pair: pair[1] / pair[0].objective_time, default=None)


# ── Tiles ────────────────────────────────────────────────────────────────────


def letters(count: int) -> int:
    """How many letters a line of a tile holds, in one of so many columns."""
    width = (_COLUMNS_WIDTH - _COLUMN_GAP * (count - 1)) / count
    return int((width - _TILE_EDGE) / _LETTER)


def _column(cluster: Cluster, rows: list[Relationship], now: datetime, holds: int) -> Column:
    lit = [] if cluster.silent else [row for row in rows if row.grade in _LIT or _alone_unknown(row)]
    tiles = [_silent(cluster, now)] if cluster.silent else [_tile(row, now) for row in lit]
    calm = [_calm(row, now) for row in rows if row not in lit]
    shown_tiles, shown_calm = _fitting(tiles, calm, holds)
    left_out: list[Tile | Calm] = [*tiles[len(shown_tiles) :], *calm[len(shown_calm) :]]
    return Column(
        name=cluster.name,
        count=len(rows),
        silent=cluster.silent,
        short=holds - _MARK,
        tiles=shown_tiles,
        calm=shown_calm,
        more=_counted(each.health for each in left_out),
    )


def _fitting(tiles: list[Tile], calm: list[Calm], holds: int) -> tuple[list[Tile], list[Calm]]:
    """As many of both, in this order, as the height holds; a line is kept free when some are left out."""
    heights = [*(tile.height(holds) for tile in tiles), *(row.height for row in calm)]
    if sum(heights) <= _COLUMN:
        return tiles, calm
    used, fit = _MORE, 0
    for height in heights:
        used += height
        if used > _COLUMN:
            break
        fit += 1
    return tiles[:fit], calm[: max(fit - len(tiles), 0)]


def _alone_unknown(row: Relationship) -> bool:
    """Unknown for a reason of its own, not because its cluster is silent."""
    return row.grade == Grade.UNKNOWN and not row.cluster.silent


def _silent(cluster: Cluster, now: datetime) -> Tile:
    lasted = coarse(now - (cluster.last_read_at or cluster.added_at))
    return Tile(health="unknown", name=_("Silent"), lines=(_("for %s") % lasted,))


def _tile(row: Relationship, now: datetime) -> Tile:
    name, reason = leaf(row.target_root_path), _reason(row, now)
    if row.grade == Grade.ACTIVE:
        percent = int(row.job_percent) if row.job_running and row.job_percent is not None else None
        words = _("Failover") if row.held_phase == "running" else _active_words(row, reason)
        return Tile(health=row.grade, name=name, lines=(words,), percent=percent)
    lines = []
    age = read_age(row, now)
    if row.state == "ESTABLISHED" and age is not None and age_of(row, now).gauge:
        lines.append(_("%(age)s of %(goal)s") % {"age": coarse(age), "goal": duration(row.objective)})
    if reason and row.reason != "Recovery point late":
        lines.append(reason)
    return Tile(health=row.grade, name=name, lines=tuple(lines))


def _reason(row: Relationship, now: datetime) -> str:
    """The reason of its health, in minutes."""
    since = row.reason_since or now
    return row.reason.replace("{for}", coarse(now - since)).replace("{at}", f"{since:%H:%M} UTC")


def _active_words(row: Relationship, reason: str) -> str:
    return reason if row.state == "DISCONNECTED" else state_word(row.state)


def _calm(row: Relationship, now: datetime) -> Calm:
    age = age_of(row, now)
    figures = row.grade == Grade.NORMAL and age.gauge
    return Calm(
        health=row.grade,
        name=leaf(row.target_root_path),
        percent=f"{age.ratio * 100:.0f} %" if figures else "",
        age=age if figures else None,
    )


# ── Lamps ────────────────────────────────────────────────────────────────────


def _shape(clusters: int) -> tuple[int, int]:
    """Columns and rows for so many clusters."""
    if clusters <= 4:
        return max(clusters, 1), 1
    return (4, 2) if clusters <= 8 else (5, 3)


def _lamps(cluster: Cluster, rows: list[Relationship], room: int) -> Lamps:
    cells = [row.grade for row in rows]
    drawn = cells if len(cells) <= room else cells[: room - 2]  # the number of the others takes the room of two
    return Lamps(
        name=cluster.name,
        count=len(rows),
        silent=cluster.silent,
        cells=drawn,
        more=len(cells) - len(drawn),
        attention=sum(grade in _ATTENTION for grade in cells),
    )


def _worst(rows: Sequence[Relationship], clusters: Sequence[Cluster], now: datetime) -> list[Tile]:
    """Everything that asks for attention, a silent cluster as one: critical, then unknown, then warning, and among
    equals the one that is furthest beyond its objective."""
    found = [(_silent_entry(cluster, rows, now), 0.0) for cluster in clusters if cluster.silent]
    for row in rows:
        if row.grade in (Grade.CRITICAL, Grade.WARNING) or _alone_unknown(row):
            age = read_age(row, now) or timedelta()
            found.append((_entry(row, now), age / row.objective_time))
    order = list(_ATTENTION)
    found.sort(key=lambda pair: (order.index(Grade(pair[0].health)), -pair[1]))
    return [tile for tile, _times in found]


def _silent_entry(cluster: Cluster, rows: Sequence[Relationship], now: datetime) -> Tile:
    count = sum(row.cluster_id == cluster.pk for row in rows)
    since = cluster.last_read_at or cluster.added_at
    number = ngettext("%d relationship", "%d relationships", count) % count
    return Tile(
        health="unknown",
        name=_("%s silent") % cluster.name,
        when=coarse(now - since),
        lines=(_("%(number)s. Silent since %(at)s UTC") % {"number": number, "at": f"{since:%H:%M}"},),
    )


def _entry(row: Relationship, now: datetime) -> Tile:
    age, reason = read_age(row, now), _reason(row, now)
    if row.state == "AWAITING_AUTHORIZATION":
        age, reason = now - row.state_since, state_word(row.state)
    words = f"{row.cluster.name}. {reason}" if reason else row.cluster.name
    if row.state == "ESTABLISHED":
        words += _(", objective %s") % duration(row.objective)
    when = coarse(age) if age is not None and age > timedelta() else ""
    return Tile(health=row.grade, name=leaf(row.target_root_path), when=when, lines=(words,))


def _counted(healths: Iterable[str]) -> str:
    """`4 more normal`, `3 more: 1 warning, 2 normal`; "" for none."""
    numbers = Counter(healths)
    parts = [(numbers[grade], health_word(grade).lower()) for grade in Grade if numbers[grade]]
    if not parts:
        return ""
    if len(parts) == 1:
        return _("%(count)d more %(word)s") % {"count": parts[0][0], "word": parts[0][1]}
    listed = ", ".join(f"{count} {word}" for count, word in parts)
    return _("%(count)d more: %(parts)s") % {"count": numbers.total(), "parts": listed}

"""The age of the recovery point over time, as the numbers of an SVG. Pure; no Django, no clock.

The age rises by a minute a minute and falls when a newer recovery point is first seen. History keeps at most one point
in five minutes, so a fall may be drawn up to five minutes late: the chart may make the age look older than it was,
never younger. Before the first reading there is only a dashed line: how old this recovery point was, if it existed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise

RANGES = {"6h": timedelta(hours=6), "24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}

WIDTH, HEIGHT = 800, 260
LEFT, TOP, RIGHT, BOTTOM = 52, 14, 116, 28
_END = WIDTH - RIGHT
_BASE = HEIGHT - BOTTOM
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_STEPS = (
    *(n * _MINUTE for n in (1, 2, 5, 10, 15, 20, 30)),
    *(n * _HOUR for n in (1, 2, 3, 6, 12)),
    *(n * _DAY for n in (1, 2, 5, 10, 20, 50, 100)),
)
_MOST_LINES = 4
_TICKS = {"6h": _HOUR, "24h": 4 * _HOUR, "7d": _DAY, "30d": 5 * _DAY}


@dataclass(frozen=True, slots=True)
class Point:
    """A recovery point, and when it was first seen."""

    at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Label:
    """`place` is x of a tick or y of a line, in the units of the view box."""

    place: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`line` and `area` are path data; the part of the area above `goal_y` is what was over the objective. `reckoned`
    is the line before the first reading, "" when there is none. `kept` is the share of the known time within the
    objective, in per cent."""

    line: str
    area: str
    reckoned: str
    goal_y: str
    lines: list[Label]
    ticks: list[Label]
    end_x: str
    end_y: str
    age: timedelta
    over: bool
    most: timedelta
    kept: float

    @property
    def kept_words(self) -> str:
        """`97.4`; rounded down, so that a time that was not always kept never reads 100."""
        return f"{int(self.kept * 10) / 10:g}"


@dataclass(frozen=True, slots=True)
class _Tooth:
    """From `start` to `end` the newest recovery point was `at`. All in seconds of the epoch."""

    start: float
    end: float
    at: float

    @property
    def age_from(self) -> float:
        return max(self.start - self.at, 0)

    @property
    def age_to(self) -> float:
        return max(self.end - self.at, 0)


def draw(
    points: Sequence[Point],
    *,
    current: datetime | None,
    span: str,
    now: datetime,
    until: datetime,
    objective: timedelta,
) -> Chart | None:
    """The last `span` (a key of RANGES) before `now`; the line ends at `until`, when the relationship was read last.
    `points` in the order in which they were seen, the last one before the span included; `current` is the recovery
    point of now, which history may not hold yet. None: nothing is known of this time."""
    start = (now - RANGES[span]).timestamp()
    teeth = list(_teeth(points, current, start, until.timestamp()))
    if not teeth:
        return None
    goal = objective.total_seconds()
    most = max(max(tooth.age_from, tooth.age_to) for tooth in teeth)
    top = max(most, goal) * 1.1

    def x(moment: float) -> float:
        return LEFT + (_END - LEFT) * (moment - start) / (now.timestamp() - start)

    def y(age: float) -> float:
        return _BASE - (_BASE - TOP) * age / top

    corners = [(x(t), y(age)) for tooth in teeth for t, age in _ends(tooth)]
    line = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in _thinned(corners))
    first, last = teeth[0], teeth[-1]
    step = next((s for s in _STEPS if top / s <= _MOST_LINES + 1), _STEPS[-1])
    return Chart(
        line=line,
        area=f"{line}V{_BASE}H{corners[0][0]:.1f}Z",
        reckoned=_reckoned(first, start, x, y),
        goal_y=f"{y(goal):.1f}",
        lines=[Label(f"{y(age):.1f}", _short(age, step)) for age in range(0, int(top) + 1, step)],
        ticks=[Label(f"{x(moment):.1f}", words) for moment, words in _ticks(span, start, now.timestamp())],
        end_x=f"{x(last.end):.1f}",
        end_y=f"{y(last.age_to):.1f}",
        age=timedelta(seconds=last.age_to),
        over=last.age_to > goal,
        most=timedelta(seconds=most),
        kept=_kept(teeth, goal),
    )


def _short(age: int, step: int) -> str:
    """`90 min`, `36 h`: one unit for the whole axis, because there is no room for two."""
    size, unit = (_MINUTE, "min") if step < _HOUR else (_HOUR, "h") if step < _DAY else (_DAY, "d")
    return f"{age // size} {unit}" if age else "0"


def _teeth(points: Iterable[Point], current: datetime | None, start: float, end: float) -> Iterator[_Tooth]:
    """One for each recovery point known between `start` and `end`."""
    known = [(point.seen_at.timestamp(), point.at.timestamp()) for point in points]
    if current is not None and (not known or known[-1][1] != current.timestamp()):
        # Newer than history: it was seen at some time since the last point, so the fall is drawn at the end.
        known.append((end, current.timestamp()))
    for (seen, at), (until, _) in pairwise([*known, (end, 0.0)]):
        if until > start:
            yield _Tooth(max(seen, start), min(until, end), at)


def _ends(tooth: _Tooth) -> Iterator[tuple[float, float]]:
    yield tooth.start, tooth.age_from
    yield tooth.end, tooth.age_to


def _reckoned(first: _Tooth, start: float, x: Callable[[float], float], y: Callable[[float], float]) -> str:
    since = max(start, first.at)
    if since >= first.start:
        return ""
    return f"M{x(since):.1f} {y(since - first.at):.1f}L{x(first.start):.1f} {y(first.age_from):.1f}"


def _thinned(corners: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """At most four corners for each unit of width: a month of short jobs has thousands, and the eye sees no more."""
    for _, column in groupby(corners, key=lambda corner: int(corner[0])):
        group = list(column)
        if len(group) <= 4:
            yield from group
            continue
        low, high = max(group, key=lambda c: c[1]), min(group, key=lambda c: c[1])
        yield group[0]
        yield high
        yield low
        yield group[-1]


def _ticks(span: str, start: float, end: float) -> Iterator[tuple[float, str]]:
    every = _TICKS[span]
    moment = (int(start) // every + 1) * every
    while moment <= end:
        at = datetime.fromtimestamp(moment, UTC)
        yield moment, f"{at:%H:%M}" if every < _DAY else f"{at.day} {at:%b}"
        moment += every


def _kept(teeth: list[_Tooth], goal: float) -> float:
    known = sum(tooth.end - tooth.start for tooth in teeth)
    within = sum(min(max(tooth.at + goal - tooth.start, 0), tooth.end - tooth.start) for tooth in teeth)
    return 100 * within / known if known else 100.0

"""Unique indexes and CHECK constraints of the database as data, beside the triggers (`triggers`): what models declare
and migrations make, said once more, so that a desk can ask whether it is still there and still means the same.

Compared is what the database will refuse, not how it spells it: a unique index by its columns and its condition, a
CHECK by its expression, read into a tree. (PostgreSQL writes `x IN (1, 2)` as `x = ANY (ARRAY[1, 2])`, in another
way again after a dump was restored, and puts brackets where it likes.) What cannot be read counts as something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

Tree: TypeAlias = "str | tuple[Tree, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique:
    """No two rows of `table` have the same `columns`, of those for which `where` holds ("" is all). A primary key is
    one, too. `name` is for people: what counts is that the database refuses the second row."""

    name: str
    table: str
    columns: tuple[str, ...]
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Each row of `table` fulfils `condition`, by a constraint of this name."""

    name: str
    table: str
    condition: str


Constraint: TypeAlias = Unique | Check


def missing(connection: BaseDatabaseWrapper, constraints: Sequence[Constraint]) -> list[str]:
    """Names of those that are absent, not enforced for every row, or not the ones defined here."""
    tables = sorted({each.table for each in constraints})
    with connection.cursor() as cursor:
        found = set(_of_sqlite(cursor, tables) if connection.vendor == "sqlite" else _of_postgresql(cursor, tables))
    return [each.name for each in constraints if _wanted(each) not in found]


def _wanted(constraint: Constraint) -> tuple[str, ...] | tuple[Tree, ...]:
    if isinstance(constraint, Unique):
        return (constraint.table, constraint.columns, _tree(constraint.where))
    return (constraint.table, constraint.name, _tree(constraint.condition))


def _of_postgresql(cursor: CursorWrapper, tables: list[str]) -> Iterator[tuple[Tree, ...]]:
    # An index that was begun CONCURRENTLY and failed is not valid: it refuses nothing.
    cursor.execute(
        "SELECT c.relname, array_agg(coalesce(a.attname::text, '?') ORDER BY k.place),"
        " coalesce(pg_get_expr(i.indpred, i.indrelid), '')"
        " FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
        " CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attribute, place)"
        " LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attribute AND k.attribute > 0"
        " WHERE i.indisunique AND i.indisvalid AND i.indisready AND i.indislive AND i.indimmediate"
        " AND k.place <= i.indnkeyatts AND c.relname = ANY (%s) AND pg_table_is_visible(c.oid)"
        " GROUP BY i.indexrelid, c.relname, i.indpred, i.indrelid",
        [tables],
    )
    for table, columns, where in cursor.fetchall():
        yield table, tuple(columns), _tree(where)
    cursor.execute(
        "SELECT c.relname, o.conname, pg_get_expr(o.conbin, o.conrelid)"
        " FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid"
        " WHERE o.contype = 'c' AND o.convalidated AND c.relname = ANY (%s) AND pg_table_is_visible(c.oid)",
        [tables],
    )
    for table, name, condition in cursor.fetchall():
        yield table, name, _tree(condition)


def _of_sqlite(cursor: CursorWrapper, tables: list[str]) -> Iterator[tuple[Tree, ...]]:
    cursor.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    texts = dict(cursor.fetchall())
    for table in tables:
        cursor.execute("SELECT name FROM pragma_table_info(%s) WHERE pk > 0 ORDER BY pk", [table])
        if key := tuple(name for (name,) in cursor.fetchall()):
            yield table, key, ""
        cursor.execute(
            "SELECT l.name, l.partial, i.name FROM pragma_index_list(%s) l, pragma_index_info(l.name) i"
            ' WHERE l."unique" ORDER BY l.name, i.seqno',
            [table],
        )
        indexes: dict[tuple[str, bool], list[str]] = {}
        for index, partial, column in cursor.fetchall():
            indexes.setdefault((index, bool(partial)), []).append(column or "?")
        for (index, partial), columns in indexes.items():
            condition = re.split(r"\bWHERE\b", texts[index], maxsplit=1)[1] if partial else ""
            yield table, tuple(columns), _tree(condition)
        for named in re.finditer(r'CONSTRAINT "(\w+)" CHECK ', texts.get(table, "")):
            yield table, named[1], _tree(texts[table][named.end() :], whole=False)


# ── Expressions ──────────────────────────────────────────────────────────────

_TOKEN = re.compile(r"""\s*('(?:[^']|'')*'|"[^"]+"|\w+|<=|>=|<>|[=<>()\[\],])""")
_CAST = re.compile(r"\s*::(?:character varying|[a-z]+)(?:\(\d+\))?(?:\[\])?")
_COMPARISONS = ("=", "<>", "<", ">", "<=", ">=")


def _tree(text: str, *, whole: bool = True) -> Tree:
    """What an expression says, without how it is spelled: equal trees mean the same. With `whole` False it is the
    bracket with which `text` begins. The text itself, when it says what none of ours does."""
    if not text.strip():
        return ""
    reader = _Reader(text)
    try:
        return reader.all() if whole else reader.term()
    except _Unread:
        return f"? {text}"


class _Unread(Exception):
    """An expression holds something that none of ours does."""


class _Reader:
    """OR binds loosest, then AND, NOT, and comparisons. Reads no further than it has to."""

    def __init__(self, text: str) -> None:
        self._text = _CAST.sub("", text)

    @property
    def next(self) -> str:
        """The token that comes next: a word in lower case, a text with its quotes, a sign; "" at the end."""
        found = _TOKEN.match(self._text)
        if found is None:
            if self._text.strip():
                raise _Unread(self._text)
            return ""
        token = found[1]
        return token if token.startswith("'") else token.strip('"') if token.startswith('"') else token.lower()

    def _take(self, expected: str = "") -> str:
        token = self.next
        if not token or (expected and token != expected):
            raise _Unread(token)
        self._text = _TOKEN.sub("", self._text, count=1)
        return token

    def all(self) -> Tree:
        tree = self.expression()
        if self.next:
            raise _Unread(self.next)
        return tree

    def expression(self) -> Tree:
        return self._joined("or", lambda: self._joined("and", self._negated))

    def _joined(self, word: str, part: Callable[[], Tree]) -> Tree:
        parts = [part()]
        while self.next == word:
            self._take()
            parts.append(part())
        return parts[0] if len(parts) == 1 else (word, *parts)

    def _negated(self) -> Tree:
        if self.next == "not":
            self._take()
            return ("not", self._negated())
        return self._compared()

    def _compared(self) -> Tree:
        left = self.term()
        if self.next == "is":
            self._take()
            negated = self.next == "not" and self._take("not")
            self._take("null")
            return ("not", ("null", left)) if negated else ("null", left)
        if self.next == "in":
            self._take()
            return ("in", left, *self._listed("(", ")"))
        if self.next not in _COMPARISONS:
            return left
        sign = self._take()
        if sign == "=" and self.next == "any":
            self._take()
            return ("in", left, *self._any())
        return (sign, left, self.term())

    def term(self) -> Tree:
        if self.next != "(":
            return self._atom()
        self._take()
        inner = self.expression()
        self._take(")")
        return inner

    def _any(self) -> list[Tree]:
        """`(ARRAY[…])`, in as many brackets as there are."""
        if self.next == "(":
            self._take()
            found = self._any()
            self._take(")")
            return found
        self._take("array")
        return self._listed("[", "]")

    def _listed(self, opens: str, closes: str) -> list[Tree]:
        self._take(opens)
        found = [self.term()]
        while self.next == ",":
            self._take()
            found.append(self.term())
        self._take(closes)
        return found

    def _atom(self) -> str:
        token = self._take()
        if not re.fullmatch(r"\w+|'.*'", token, re.DOTALL):
            raise _Unread(token)
        return token

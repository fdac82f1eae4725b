"""Ways to write to the ledger, and to tamper with it as only an owner of the database can."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection, transaction

from dashboard.audit import chain, guards
from dashboard.audit.chain import SYSTEM
from dashboard.audit.models import Entry

COLUMNS = "(seq, payload, prev_hash, hash, at, tag, actor, object)"


def write(count: int) -> list[Entry]:
    """`count` entries, each in a transaction of its own, numbered in their words."""
    entries = []
    for number in range(1, count + 1):
        with transaction.atomic():
            entries.append(
                chain.append("request.made", actor=SYSTEM, object=f"FO-{1000 + number}", words=f"no. {number}")
            )
    return entries


def run(statement: str, parameters: Sequence[str | int | bytes | None] = ()) -> None:
    """Raw SQL, `%s` for parameters; a refusal leaves the surrounding transaction usable."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def tamper(statement: str, parameters: Sequence[str | int | bytes | None] = ()) -> None:
    """The same with the guards taken away and put back, which leaves no trace in the schema."""
    guards.drop(connection)
    run(statement, parameters)
    guards.install(connection)

"""The ledger at a million entries, on a database of its own: `python -m tests.bench.ledger sqlite|postgres [ENTRIES]`.

Appends by 1, 8 and 32 processes at once, without a fork; the whole of it verified; a page of it found. Prints JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from tests.postgres import running_postgres

SECONDS = 5.0
WRITERS = (1, 8, 32)
PEOPLE = ("a.rivera", "s.tanaka", "j.lind", "k.osei", "System")
TAGS = ("signin.succeeded", "request.made", "request.approved", "failover.sent", "failover.succeeded", "hold.set")
PAGES = {
    "newest": "",
    "by number": "?before=400000",
    "one person": "?who=k.osei",
    "one kind": "?kind=holds",
    "refusals (none)": "?refused=1",
    "one old request": "?object=FO-1007",
    "person and kind": "?who=j.lind&kind=signins",
    "an old day": "?since=2020-01-02&until=2020-01-02",
    "words that are everywhere": "?q=finance",
    "words that are nowhere": "?q=nobody+wrote+this",
}


@contextmanager
def database(engine: str, folder: Path) -> Iterator[str]:
    if engine == "sqlite":
        yield f"sqlite:///{folder / 'desk.sqlite3'}"
    else:
        with running_postgres(durable=True) as url:
            yield url


def main(engine: str, entries: int) -> None:
    with tempfile.TemporaryDirectory(prefix="desk-ledger-") as name, database(engine, Path(name)) as url:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
            "TESTING": "1",
            "FAILOVER_DESK_DATA": name,
            "SECRET_KEY": "x" * 60,
            "READER_KEY": Fernet.generate_key().decode(),
            "DATABASE_URL": url,
        }
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        found: dict[str, Any] = {"engine": engine}
        found["appends"] = {str(writers): _appends(writers) for writers in WRITERS}
        _fill(entries)
        found |= _verified()
        found["pages"] = _pages()
        print(json.dumps(found))


def _appends(writers: int) -> int:
    """Entries per second by so many processes; the chain is whole afterwards."""
    from django.db import connections

    from dashboard.audit import chain
    from dashboard.audit.models import Entry

    connections.close_all()
    before = Entry.objects.count()
    connections.close_all()
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append_for, args=(SECONDS,)) for _ in range(writers)]
    begun = time.monotonic()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    took = time.monotonic() - begun
    report = chain.verify()
    assert report.ok, report.bad
    return round((Entry.objects.count() - before) / took)


def _append_for(seconds: float) -> None:
    from django.db import transaction

    from dashboard.audit import chain
    from dashboard.audit.chain import SYSTEM

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with transaction.atomic():
            chain.append("cluster.tested", actor=SYSTEM, object="cluster:dr-west", words="Tested dr-west.", detail={})


def _fill(entries: int) -> None:
    """Rightly chained entries up to that number, written past the guards, which would look at each."""
    from django.db import connection, transaction

    from dashboard.audit import guards
    from dashboard.audit.models import Entry, Head

    head = Head.objects.get()
    guards.drop(connection)
    with transaction.atomic():
        seq, previous = head.seq, bytes(head.hash)
        while seq < entries:
            rows = list(_rows(seq, min(entries, seq + 10_000), previous))
            Entry.objects.bulk_create(rows, batch_size=100 if connection.vendor == "sqlite" else 2000)
            seq, previous = rows[-1].seq, bytes(rows[-1].hash)
        Head.objects.update(seq=seq, hash=previous)
    guards.install(connection)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _rows(last: int, end: int, previous: bytes) -> Iterator[Any]:
    from dashboard.audit import chain
    from dashboard.audit.models import Entry
    from dashboard.audit.verifier import entry_hash

    for seq in range(last + 1, end + 1):
        at = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=30 * seq)
        who = PEOPLE[seq % 5]
        actor = {"kind": "user", "label": who, "person": seq % 5, "account": who, "ip": "10.9.0.21"}
        about = f"FO-{1000 + seq // 100}"
        detail = {"plan": f"dr-west:/dr/dc1/finance/{seq} " * 8, "votes": 1}
        payload = json.dumps(
            {"at": chain.stamp(at), "tag": TAGS[seq % 6], "actor": actor, "request_id": "", "object": about}
            | {"words": f"Entry {seq} about {about}", "detail": detail},
            sort_keys=True,
            separators=(",", ":"),
        )
        digest = entry_hash(previous, seq, payload)
        columns = {"tag": TAGS[seq % 6], "actor": who, "object": about}
        yield Entry(seq=seq, payload=payload, prev_hash=previous, hash=digest, at=at, **columns)
        previous = digest


def _verified() -> dict[str, Any]:
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "manage.py", "verifyaudit"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    took = time.monotonic() - begun
    peak = _peak([sys.executable, "manage.py", "verifyaudit", "--from", "1"])
    return {"said": done.stdout.strip(), "seconds": round(took, 1), "peak_mb": peak}


def _peak(command: list[str]) -> int:
    """The most memory that the command held, in MB."""
    program = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, check=True)
    return int(done.stdout)


def _pages() -> dict[str, str]:
    from django.test import Client

    from dashboard.accounts import people
    from dashboard.audit.chain import SYSTEM

    user = people.add("m.okafor", roles=["auditor"], password="demo", actor=SYSTEM)
    client, found = Client(), {}
    client.force_login(user)
    client.get("/audit/")
    for name, query in PAGES.items():
        took = []
        for _ in range(5):
            begun = time.monotonic()
            response = client.get(f"/audit/{query}")
            took.append((time.monotonic() - begun) * 1000)
            assert response.status_code == 200
        found[name] = f"median {statistics.median(took):.0f} ms, worst {max(took):.0f} ms"
    return found


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)

"""What people and drivers do, in a process of its own: `python -m tests.faults.hands`.

Reads one act per line, `["approve", {"request": 1001}]`, and answers with one line of JSON: what the verb returned, or
with `refused` and its sentence when the desk said no. So a test asks many things of one process, and can kill it. The
settings come from the environment, as for any process of the desk.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import django

django.setup()

from django.db import close_old_connections, connections  # noqa: E402

from dashboard import database  # noqa: E402
from dashboard.accounts import people  # noqa: E402
from dashboard.accounts.models import User  # noqa: E402
from dashboard.accounts.people import actor_of  # noqa: E402
from dashboard.audit import chain, checkpoints  # noqa: E402
from dashboard.audit.chain import SYSTEM, cli  # noqa: E402
from dashboard.celery import app  # noqa: E402
from dashboard.database import database_now  # noqa: E402
from dashboard.failovers import (  # noqa: E402
    asking,
    bell,
    closing,
    conduct,
    crashpoints,
    execution,
    holds,
    reading,
    selfcheck,
)
from dashboard.failovers.lifecycle import Refused  # noqa: E402
from dashboard.failovers.models import Failover, Request  # noqa: E402
from dashboard.fleet import observe as fleet_observe  # noqa: E402
from dashboard.fleet import registry  # noqa: E402
from dashboard.fleet.models import Cluster, Relationship  # noqa: E402

CAST = {"a.rivera": "operator", "s.tanaka": "operator", "j.lind": "approver", "k.osei": "approver", "admin": "admin"}


def _user(name: str) -> User:
    return User.objects.select_related("person").get(username=name)


def cast() -> None:
    for name, role in CAST.items():
        people.add(name, roles=[role], password="demo", actor=SYSTEM)


def register(clusters: list[dict[str, str]]) -> None:
    """As `manage.py cluster add` does it: each is asked who it is, and both of its tokens are tried."""
    for it in clusters:
        ca = Path(it["ca_file"]).read_text()
        tokens = {"reader_token": it["reader_token"], "executor_token": it["executor_token"]}
        registry.add(it["name"], it["url"], actor=cli(), ca=ca, **tokens)


def observe(clusters: list[str] | None = None) -> None:
    for cluster in Cluster.objects.all():
        if clusters is None or cluster.name in clusters:
            fleet_observe.observe(cluster.pk)


def request(paths: list[str], by: str = "a.rivera", mode: str = "unplanned", nonce: str = "") -> dict[str, Any]:
    """Ask for these target paths, `/dr/finance` or `dr-003:/dr/0001` where several clusters have the same."""
    clusters = sorted({path.rpartition(":")[0] or _row(path).cluster.name for path in paths})
    observe(clusters)
    try:
        asked = ask([_row(path) for path in paths], by, mode, nonce)
    except Refused as refusal:
        if "Read it again" not in refusal.words:
            raise
        return request(paths, by, mode, nonce)  # facts are soon too old where times are short and the machine is slow
    items = list(asked.failovers.order_by("position"))
    return {"request": asked.pk, "number": asked.number, "digest": asked.digest, "failovers": [f.pk for f in items]}


def ask(rows: list[Relationship], by: str = "a.rivera", mode: str = "unplanned", nonce: str = "") -> Request:
    user = _user(by)
    return asking.request(
        user=user,
        actor=actor_of(user),
        relationships=rows,
        typed=reading.expected_typing(rows),
        reason="A machine of the test needs it now.",
        ticket="",
        mode=mode,
        nonce=uuid.UUID(nonce) if nonce else uuid.uuid4(),
    )


def _row(path: str) -> Relationship:
    name, _, rest = path.rpartition(":")
    rows = Relationship.objects.filter(target_root_path=rest.rstrip("/") + "/", gone_at=None)
    return rows.select_related("cluster").get(**({"cluster__name": name} if name else {}))


def approve(request: int, by: str = "k.osei") -> None:
    user, asked = _user(by), Request.objects.get(pk=request)
    seen = reading.situations(list(asked.failovers.order_by("position")), now=database_now())
    changed = reading.changed(asked, seen)
    ticked = reading.digest_of(changed)
    conduct.approve(
        user=user,
        actor=actor_of(user),
        request_pk=asked.pk,
        digest=asked.digest,
        comment="Go.",
        auth="",
        changed=ticked,
    )


def reject(request: int, by: str = "k.osei") -> None:
    user, asked = _user(by), Request.objects.get(pk=request)
    conduct.reject(user=user, actor=actor_of(user), request_pk=asked.pk, digest=asked.digest, comment="No.", auth="")


def cancel(request: int, by: str = "a.rivera") -> None:
    user = _user(by)
    conduct.cancel(user=user, actor=actor_of(user), request_pk=request)


def close(failover: int, outcome: str = "not_applied", reason: str = "", by: str = "k.osei") -> None:
    user = _user(by)
    closing.close(user=user, actor=actor_of(user), failover_pk=failover, outcome=outcome, reason=reason)


def execute(failover: int) -> None:
    execution.execute(failover)


def ring(failover: int, times: int = 1) -> None:
    for _ in range(times):
        bell.ring(failover)
    hush()


def hush() -> None:
    """Returns when every bell so far was rung, or was found not to be heard."""
    bell._waiting.join()


def hold(reason: str, scope: str = "") -> None:
    holds.hold(actor=cli(), scope=scope, reason=reason)


def look() -> None:
    """The self-check of a sending process."""
    selfcheck.look()


def expire() -> int:
    return conduct.expire_due()


def impatient(seconds: float) -> None:
    database.wait_at_most(seconds)


def late(minutes: int) -> list[str]:
    """What of the record would be called late, so much later."""
    return checkpoints.standing(database_now() + timedelta(minutes=minutes)).late


def verify() -> dict[str, Any]:
    report = chain.verify()
    return {"ok": report.ok}


def number(failover: int) -> str:
    return Failover.objects.select_related("request").get(pk=failover).number


def ask_workers(what: str) -> dict[str, Any]:
    """What a running worker says of itself: `conf` or `stats`. By name; nothing when it does not listen yet."""
    ask = app.control.inspect(timeout=5, limit=1)
    return dict((ask.conf(with_defaults=True) if what == "conf" else ask.stats()) or {})


def die(at: str, doing: str, **arguments: Any) -> int:
    """The same act by a child of this process, again and again until a signal strikes it at that place (as CRASH_AT
    would). Returns how it ended; 1 when it never came there."""
    connections.close_all()  # each of the two opens its own
    child = os.fork()
    if child == 0:
        try:
            _act_until_struck(at, VERBS[doing], arguments)
        except BaseException:  # noqa: BLE001 - a copy of this process must not go on as if it were the first
            traceback.print_exc()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _act_until_struck(at: str, act: Callable[..., Any], arguments: dict[str, Any]) -> None:
    crashpoints.listen(crashpoints.armed(at))
    end = time.monotonic() + 45
    while time.monotonic() < end:
        with suppress(Refused):
            act(**arguments)
        time.sleep(0.02)


ACTS: tuple[Callable[..., Any], ...] = (
    *(cast, register, observe, request, approve, reject, cancel, close),
    *(execute, ring, hush, hold, look, expire, impatient, late, verify, number, die, ask_workers),
)
VERBS = {act.__name__: act for act in ACTS}


def main() -> None:
    print(json.dumps({"answer": "ready"}), flush=True)
    for line in sys.stdin:
        verb, arguments = json.loads(line)
        close_old_connections()
        try:
            said = {"answer": VERBS[verb](**arguments)}
        except Refused as refused:
            said = {"refused": refused.words}
        except Exception:  # noqa: BLE001 - whatever it was, the test is told
            said = {"error": traceback.format_exc()}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()

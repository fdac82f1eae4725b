"""Threads for work on clusters, so that one that is slow or dead delays no other.

Work that waits for its cluster costs a thread and nothing else; work that goes on competes for the processor and the
database, and wants to be little at once. So the two are counted apart. Work is *prompt* for its first second, and a few
pieces of that run side by side; what lasts longer *waits*, and its place goes to the next. A cluster whose last work
waited has places among those that wait only, until a piece of its work was prompt again. So, however many clusters are
known to be slow, the places of the others stay free; those that fall silent at the same moment cost the others one
second each at most, as many at a time as there are prompt places, while there are threads left. Where the machine
itself is so slow that nothing is prompt, all clusters share the places among those that wait, in turns.

Each cluster has a line of its own, the lines take turns, and one cluster has at most `each` places, a single one while
it waits. The same work is in a line or under way once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from django.db import close_old_connections, connections

log = logging.getLogger(__name__)

PROMPT = 1.0  # seconds


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    cluster: int
    what: Hashable
    work: Callable[[], object]


class Lanes:
    """`prompt` + `waiting` threads at most, each begun when it is needed."""

    def __init__(self, name: str, *, prompt: int, waiting: int, each: int = 1) -> None:
        self._name, self._prompt, self._waiting, self._each = name, prompt, waiting, each
        self._changed = threading.Condition()
        self._lines: dict[int, deque[_Piece]] = {}  # of those that have one, in the order of their turns
        self._begun: dict[_Piece, float] = {}
        self._known: set[Hashable] = set()
        self._slow: set[int] = set()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False

    def put(self, cluster: int, what: Hashable, work: Callable[[], object]) -> None:
        """Have it done, at the end of the cluster's line. Nothing when it is there already, or under way."""
        with self._changed:
            if self._closed:
                return
            if what not in self._known:
                self._known.add(what)
                self._lines.setdefault(cluster, deque()).append(_Piece(cluster, what, work))
            if self._lines:  # also when it stands there already: whoever was called for it may never have come
                self._call_somebody()

    def close(self, *, forget: bool) -> None:
        """Take nothing more, and wait for what is under way; what stands in line is done first, or forgotten."""
        with self._changed:
            self._closed = True
            if forget:
                self._lines.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _call_somebody(self) -> None:
        if self._idle:
            self._changed.notify()
        elif len(self._threads) < self._prompt + self._waiting:
            thread = threading.Thread(target=self._live, name=f"{self._name}-{len(self._threads)}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the machine gives no more; those that there are go on, and the next call asks again
                log.exception("No thread could be begun")
                return
            self._threads.append(thread)

    def _live(self) -> None:
        while piece := self._next():
            try:
                close_old_connections()
                piece.work()
            except Exception:
                log.exception("A step failed: %s", piece.what)
            finally:
                self._end(piece)

    def _next(self) -> _Piece | None:
        """The next piece that has a place; None: it is over."""
        piece = self._take()
        if piece is None:
            connections.close_all()  # nobody knows for how long it will not be needed
        while piece is None:
            with self._changed:
                if self._closed and not self._lines:
                    return None
                self._idle += 1
                # While somebody stands in line, the next place is free at the latest when a prompt piece is no more.
                self._changed.wait(PROMPT / 4 if self._lines else None)
                self._idle -= 1
            piece = self._take()
        return piece

    def _take(self) -> _Piece | None:
        with self._changed:
            cluster = self._whose_turn()
            if cluster is None:
                return None
            line = self._lines.pop(cluster)
            piece = line.popleft()
            if line:
                self._lines[cluster] = line
            self._begun[piece] = time.monotonic()
            if self._lines:
                self._call_somebody()
            return piece

    def _whose_turn(self) -> int | None:
        late = time.monotonic() - PROMPT
        self._slow |= {piece.cluster for piece, begun in self._begun.items() if begun < late}
        places = [piece.cluster for piece in self._begun]
        waiting = sum(cluster in self._slow for cluster in places)
        room = {True: self._waiting - waiting, False: self._prompt - (len(places) - waiting)}
        for cluster in self._lines:
            slow = cluster in self._slow
            if room[slow] > 0 and places.count(cluster) < (1 if slow else self._each):
                return cluster
        return None

    def _end(self, piece: _Piece) -> None:
        with self._changed:
            if time.monotonic() - self._begun.pop(piece) < PROMPT:
                self._slow.discard(piece.cluster)
            else:
                self._slow.add(piece.cluster)
            self._known.discard(piece.what)
            if self._lines:
                self._call_somebody()

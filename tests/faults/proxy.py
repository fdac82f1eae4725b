"""The network between the desk and a cluster, as a TCP proxy whose faults are chosen while it runs.

It knows nothing of TLS or HTTP: what it does to a connection, a switch, a firewall or a cable could do. `received`
counts the bytes that came from the desk, `passed` those that went on to the cluster, so that a test can tell a request
that never left from one whose answer was lost.

One thread with an event loop serves a proxy; its verbs may be called from any other.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Mode:
    """What happens to bytes from now on. `to`/`back`: of the desk, and of the cluster. None: all of them pass."""

    hold_to: bool = False  # nothing reaches the cluster, and nobody is told
    hold_back: bool = False  # nothing reaches the desk
    hold_back_when: Callable[[], bool] = lambda: False  # the same while this is true; asked for each piece
    cut_to: int | None = None  # after so many bytes from the desk (of each connection) it is closed
    cut_back: int | None = None  # after so many bytes of the cluster's answer
    garble_back: bool = False  # every byte of the answer is another
    delay: float = 0.0  # seconds for which each piece waits, both ways
    drip: float = 0.0  # seconds between two bytes of the cluster's answer
    reset: bool = False  # a connection that is closed by this proxy ends with a RST instead of a FIN


class Proxy:
    """Listens on 127.0.0.1:`port` and passes on to `upstream`. Use it in a `with`."""

    def __init__(self, port: int, upstream: int) -> None:
        self.port, self.upstream = port, upstream
        self.mode = Mode()
        self.received = self.passed = self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._do(self._settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # ── Faults ──

    def heal(self) -> None:
        """Everything passes again, on new connections; those that suffered are closed."""
        self.drop()  # first: what is held on them must not slip through
        self.mode = Mode()
        self.listen()

    def fail(self, **mode: Any) -> None:
        """As `Mode`; connections that are open feel it with their next bytes."""
        self.mode = Mode(**mode)

    def refuse(self) -> None:
        """Nobody listens: connections are refused, open ones are closed."""
        self._do(self._close_door())
        self.drop()

    def listen(self) -> None:
        self._do(self._open_door())

    def drop(self, *, reset: bool = False) -> None:
        """Close every open connection, with a RST when asked."""
        self._do(self._drop(reset))

    def redirect(self, upstream: int) -> None:
        """New connections reach another server; open ones are closed."""
        self.upstream = upstream
        self.drop()

    # ── The loop's side ──

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _open_door(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _close_door(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _drop(self, reset: bool) -> None:
        for writer in list(self._open):
            _close(writer, reset=reset)

    async def _settle(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)  # from the beginning, so that it is closed with the others
        try:
            if self._server is None:
                raise ConnectionRefusedError
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            self._open.discard(writer)
            _close(writer, reset=True)
            return
        ends = (writer, up_writer)
        if writer.is_closing():
            self._open.discard(writer)
            _close(up_writer, reset=False)
            return
        self._open.update(ends)
        try:
            await asyncio.gather(
                self._pump(reader, up_writer, self._to, ends), self._pump(up_reader, writer, self._back, ends)
            )
        finally:
            self._open.difference_update(ends)
            for end in ends:
                _close(end, reset=False)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        treat: Callable[[bytes, int], Coroutine[Any, Any, tuple[bytes, bool]]],
        ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        count = 0
        with suppress(ConnectionError, OSError):
            while data := await reader.read(65536):
                passes, ends_here = await treat(data, count)
                count += len(data)
                step = 1 if self.mode.drip and treat == self._back else len(passes) or 1
                for at in range(0, len(passes), step):
                    writer.write(passes[at : at + step])
                    await writer.drain()
                    if step == 1 and self.mode.drip:
                        await asyncio.sleep(self.mode.drip)
                if ends_here:
                    for end in ends:
                        _close(end, reset=self.mode.reset)
                    return
            writer.write_eof() if writer.can_write_eof() else writer.close()

    async def _to(self, data: bytes, before: int) -> tuple[bytes, bool]:
        self.received += len(data)
        mode = await self._wait(lambda mode: mode.hold_to)
        passes, over = _cut(data, before, mode.cut_to)
        self.passed += len(passes)
        return passes, over

    async def _back(self, data: bytes, before: int) -> tuple[bytes, bool]:
        mode = await self._wait(lambda mode: mode.hold_back or mode.hold_back_when())
        passes, over = _cut(data, before, mode.cut_back)
        return (bytes(byte ^ 0x55 for byte in passes) if mode.garble_back else passes), over

    async def _wait(self, holds: Callable[[Mode], bool]) -> Mode:
        if self.mode.delay:
            await asyncio.sleep(self.mode.delay)
        while holds(self.mode):  # noqa: ASYNC110 - the mode is set from another thread
            await asyncio.sleep(0.02)
        return self.mode


def _cut(data: bytes, before: int, most: int | None) -> tuple[bytes, bool]:
    if most is None or before + len(data) < most:
        return data, False
    return data[: max(0, most - before)], True


def _close(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset and (sock := writer.get_extra_info("socket")) is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    with suppress(Exception):
        (writer.transport.abort if reset else writer.close)()

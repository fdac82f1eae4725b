"""So many polls a second, from a process of its own, until it is told to stop: people who look while others decide.

python -m tests.bench.pollers URL RATE SESSION…      (prints how many it made, and how long they took)
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from typing import Any

import httpx

from tests.bench.table import spread


async def poll(url: str, rate: float, sessions: list[str]) -> dict[str, Any]:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    took: list[float] = []
    failed = 0
    under_way: list[asyncio.Task[None]] = []
    head = {"HX-Request": "true"}
    limits = httpx.Limits(max_connections=50)

    async def one(client: httpx.AsyncClient, session: str) -> None:
        nonlocal failed
        began = time.monotonic()
        try:
            answer = await client.get("/live/?seen=", headers=head | {"Cookie": f"session={session}"})
            failed += answer.status_code not in (200, 204)
        except httpx.HTTPError:
            failed += 1
        took.append(time.monotonic() - began)

    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as client, asyncio.TaskGroup() as tasks:
        began, number = time.monotonic(), 0
        while not stop.is_set() and number < rate * 300:
            under_way.append(tasks.create_task(one(client, sessions[number % len(sessions)])))
            number += 1
            pause = began + number / rate - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
        lasted = time.monotonic() - began
        for task in under_way:
            task.cancel()
    return {"polls": number, "rate": number / lasted, "failed": failed, "spread": spread(took)}


if __name__ == "__main__":
    made = asyncio.run(poll(sys.argv[1], float(sys.argv[2]), sys.argv[3:]))
    print(json.dumps(made))

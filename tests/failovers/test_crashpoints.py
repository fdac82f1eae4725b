"""A place at which a process stops itself is exact: what is behind it does not happen."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.faults.site import is_stopped
from tests.running.processes import eventually, running

# As a worker is: its steps run in threads of their own, while the main thread waits for something else.
STEPS = """
import os, select, threading
import django
django.setup()
from dashboard.failovers import crashpoints

crashpoints.listen(crashpoints.armed("send.after_intent:1:STOP"))

def step():
    crashpoints.reach("send.after_intent")
    os.write(1, b"went on")

threading.Thread(target=step).start()
select.select([os.pipe()[0]], [], [])
"""


def test_a_thread_that_stops_its_process_does_nothing_more_until_somebody_wakes_it(tmp_path: Path) -> None:
    with running([sys.executable, "-c", STEPS], tmp_path / "log") as program:
        eventually(lambda: is_stopped(program.process))
        assert not program.output()
        program.process.send_signal(signal.SIGCONT)
        eventually(lambda: program.says("went on"))

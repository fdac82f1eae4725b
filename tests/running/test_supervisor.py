"""The supervisor as a real process with real children: nothing of it survives it, nothing of it stays down."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.running.processes import children_of, command_of, eventually, family_of, running, runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.running.processes import Program

pytestmark = pytest.mark.faults

# One child that waits, and one with a child of its own; when asked for, one that is deaf to TERM, or all grown at once.
SUPERVISED = """
import os, sys
from dashboard import supervisor
from dashboard.supervisor import Child, Supervisor

if "grown" in sys.argv:
    supervisor.GROWN = 0.0
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
with Supervisor(say=lambda line: print(line, flush=True)) as desk:
    desk.start(Child(name="plain", command=["sleep", "600"], environ=os.environ))
    desk.start(Child(name="parent", command=["sh", "-c", "sleep 601 & wait"], environ=os.environ))
    if "deaf" in sys.argv:
        desk.start(Child(name="deaf", command=[sys.executable, "-c", deaf], environ=os.environ))
    print("up", flush=True)
    desk.watch()
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Program]:
    with running([sys.executable, "-c", SUPERVISED], tmp_path / "log") as program:
        eventually(lambda: program.says("up") and len(family_of(program.pid)) == 3)
        yield program


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_stops_its_whole_family_when_told_to(supervisor: Program, number: signal.Signals) -> None:
    family = family_of(supervisor.pid)
    os.kill(supervisor.pid, number)
    assert supervisor.process.wait(timeout=60) == 0
    eventually(lambda: not any(runs(pid) for pid in family))


def test_it_kills_a_child_that_does_not_stop_when_asked(tmp_path: Path) -> None:
    with running([sys.executable, "-c", SUPERVISED, "deaf"], tmp_path / "log") as supervisor:
        eventually(lambda: supervisor.says("up") and supervisor.says("deaf"))
        family = family_of(supervisor.pid)
        os.kill(supervisor.pid, signal.SIGTERM)
        assert supervisor.process.wait(timeout=60) == 0
        eventually(lambda: not any(runs(pid) for pid in family))


def test_its_children_die_with_it_when_it_is_killed(supervisor: Program) -> None:
    children = children_of(supervisor.pid)
    assert len(children) == 2
    os.kill(supervisor.pid, signal.SIGKILL)
    eventually(lambda: not any(runs(pid) for pid in children))


def test_a_child_that_crashes_is_started_again(supervisor: Program) -> None:
    before = next(pid for pid in children_of(supervisor.pid) if command_of(pid).startswith("sleep 600"))
    os.kill(before, signal.SIGKILL)
    eventually(lambda: supervisor.says("plain ended (killed by SIGKILL); again in 1 s."))
    after = eventually(lambda: [pid for pid in children_of(supervisor.pid) if command_of(pid).startswith("sleep 600")])
    assert before not in after
    os.kill(after[0], signal.SIGKILL)
    eventually(lambda: supervisor.says("plain ended (killed by SIGKILL); again in 2 s."))


def test_a_child_that_had_run_well_is_started_again_at_once(tmp_path: Path) -> None:
    with running([sys.executable, "-c", SUPERVISED, "grown"], tmp_path / "log") as supervisor:
        eventually(lambda: supervisor.says("up") and len(children_of(supervisor.pid)) == 2)
        for pid in children_of(supervisor.pid):
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: supervisor.says("plain ended (killed by SIGKILL); again at once."))
        eventually(lambda: supervisor.says("parent ended (killed by SIGKILL); again at once."))
        eventually(lambda: len(children_of(supervisor.pid)) == 2)


def test_a_child_that_crashes_takes_its_own_children_along(supervisor: Program) -> None:
    shell = next(pid for pid in children_of(supervisor.pid) if "sleep 601" in command_of(pid))
    [grandchild] = children_of(shell)
    os.kill(shell, signal.SIGKILL)
    eventually(lambda: not runs(grandchild))


def test_a_program_can_be_bound_to_the_one_that_started_it(tmp_path: Path) -> None:
    bound = """
import os, signal, time
from dashboard.supervisor import end_with_parent
end_with_parent(os.getppid(), signal.SIGTERM)
print("bound", flush=True)
time.sleep(600)
"""
    with running(["sh", "-c", '"$0" -c "$1" & wait', sys.executable, bound], tmp_path / "log") as shell:
        eventually(lambda: shell.says("bound"))
        [child] = children_of(shell.pid)
        os.kill(shell.pid, signal.SIGKILL)
        eventually(lambda: not runs(child))

"""The first minute on a machine that lacks something: one sentence says what, and nothing half made is left."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.running.processes import ROOT

OLD = "#!/bin/sh\nexit 1\n"
WITHOUT_VENV = '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\n'
REMEMBERS = '#!/bin/sh\necho "$0 $*" >>calls\n'


def install(folder: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """Run the installer in `folder`, on a machine that has these programs and no others."""
    place = folder / "bin"
    place.mkdir()
    (place / "rm").symlink_to("/bin/rm")
    for name, script in programs.items():
        (place / name).write_text(script)
        (place / name).chmod(0o755)
    return subprocess.run(
        ["/bin/sh", ROOT / "requirements/install", "pins.txt"],
        cwd=folder,
        env={"PATH": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_python_that_is_new_enough_it_says_so(tmp_path: Path) -> None:
    done = install(tmp_path, python3=OLD)
    assert done.returncode == 1
    assert "needs Python 3.11 or newer; install it" in done.stderr


def test_without_any_way_to_an_environment_it_names_three(tmp_path: Path) -> None:
    done = install(tmp_path, python3=WITHOUT_VENV)
    assert done.returncode == 1
    assert "apt install python3-venv), or uv or virtualenv" in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("tool", ["uv", "virtualenv"])
def test_without_the_venv_module_it_takes_what_is_there(tmp_path: Path, tool: str) -> None:
    install(tmp_path, python3=WITHOUT_VENV, **{tool: REMEMBERS})
    first = (tmp_path / "calls").read_text().splitlines()[0]
    assert re.search(rf"/{tool} .*--python python3 \.venv$", first)


def test_an_older_python_is_passed_over_for_a_newer_one(tmp_path: Path) -> None:
    remembers = WITHOUT_VENV + "exit 0\n"
    install(tmp_path, **{"python3": OLD, "python3.12": remembers, "uv": REMEMBERS})
    assert "--python python3.12 .venv" in (tmp_path / "calls").read_text()


def test_make_alone_lists_every_target() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert re.findall(r"make (\w+) ", listed) == phony[1].split()


def test_what_runs_is_what_was_tested() -> None:
    """The tests' pins contain those of production, version by version."""

    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[\w\[\].-]+==\S+", (ROOT / "requirements" / name).read_text(), re.MULTILINE))

    assert pins("prod.txt") <= pins("dev.txt")

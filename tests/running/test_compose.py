"""docker-compose.yml without a container engine: every name in it exists, and every service of ours really runs.

The processes are started with the commands and the environment of the file, on a real PostgreSQL with the accounts
that its script makes and on a real Redis. Only places are replaced: secrets/ and hosts by those of the test.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from argparse import ArgumentParser
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands, load_command_class

from dashboard import embedded
from tests.postgres import OWNER, PostgresMissing, find_programs, running_postgres
from tests.running.processes import ROOT, bare_environ, eventually, free_port, running, runs

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service.get("image") == COMPOSE["x-desk"]["image"]}
# What the images of others read; ours is asked of the source below.
FOREIGN = {"postgres": {"POSTGRES_USER", "POSTGRES_PASSWORD_FILE", "OWNER_PASSWORD_FILE", "APP_PASSWORD_FILE"}}


def command_of(service: str) -> list[str]:
    return shlex.split(SERVICES[service]["command"])


def environment_of(service: str) -> dict[str, str]:
    """As compose would fill it in on a machine where no variable is set."""
    given = SERVICES[service].get("environment", {})
    return {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in given.items()}


def settings_of_the_desk() -> set[str]:
    """By name, and by the name of a file where one can be given instead."""
    source = "".join(path.read_text() for path in (ROOT / "dashboard").rglob("*.py"))
    names = re.findall(r'env\.(\w+)\(\s*"([A-Z_]+)"', source)
    readers = ("secret", "address", "named_urls")
    return {name for _, name in names} | {f"{name}_FILE" for reader, name in names if reader in readers}


def test_every_service_of_the_desk_is_here() -> None:
    planned = embedded.plan_desk("127.0.0.1", 8000, tls=None, environ={})
    assert set(SERVICES) == {child.name for child in planned} | {"migrate", "redis", "postgres", "demo"}
    assert set(OURS) == set(SERVICES) - {"redis", "postgres"}


def test_every_variable_is_a_setting() -> None:
    for name in SERVICES:
        unknown = set(environment_of(name)) - settings_of_the_desk() - FOREIGN.get(name, set())
        assert not unknown, f"{name}: {unknown}"


def test_every_management_command_exists_and_takes_its_arguments() -> None:
    for name in OURS:
        program, script, *rest = command_of(name)
        if script == "manage.py":
            command = load_command_class(get_commands()[rest[0]], rest[0])
            parser: ArgumentParser = command.create_parser("manage.py", rest[0])
            parser.parse_args(rest[1:])
        assert program == "python"


def test_every_queue_is_served_and_every_worker_serves_one() -> None:
    served = [word for name in OURS for flag, word in pairs(command_of(name)) if flag == "--queues"]
    routed = {route["queue"] for route in settings.CELERY_TASK_ROUTES.values()}
    assert sorted(served) == sorted(routed | {settings.CELERY_TASK_DEFAULT_QUEUE})


def test_the_services_run_what_make_up_runs() -> None:
    """The same programs with the same sizes; only where they listen and how long they may take to stop differ."""
    local = {"--bind", "--graceful-timeout", "--log-level", "--worker-tmp-dir"}
    for child in embedded.plan_desk("127.0.0.1", 8000, tls=None, environ={}):
        here = [Path(word).name for word in child.command[1:]]
        there = command_of(child.name)[1:]
        assert sorted(without(local, here)) == sorted(without(local, there))


def test_secrets_are_declared_given_and_read() -> None:
    for name, service in SERVICES.items():
        given = set(service.get("secrets", []))
        places = [value for key, value in environment_of(name).items() if key.endswith("_FILE")]
        read = {place.removeprefix("/run/secrets/") for place in places if place.startswith("/run/secrets/")}
        assert given == read, name
    declared = COMPOSE["secrets"]
    assert set(declared) == {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert all(entry == {"file": f"secrets/{name}"} for name, entry in declared.items())


def test_only_those_who_send_are_given_the_executor_key() -> None:
    assert {name for name in SERVICES if "executor_key" in SERVICES[name].get("secrets", [])} == {
        "worker-send",
        "sweep",
    }


def test_only_the_migration_is_given_the_owner_of_the_tables() -> None:
    given = {name for name in SERVICES if "owner_database_url" in SERVICES[name].get("secrets", [])}
    assert given == {"migrate"}


def test_whoever_talks_to_clusters_has_time_to_hear_the_answer() -> None:
    assert {SERVICES[name].get("stop_grace_period") for name in ("worker-send", "worker-observe", "sweep")} == {"75s"}


def test_volumes_mounts_ports_and_dependencies_exist() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume
        for needed, how in service.get("depends_on", {}).items():
            assert needed in SERVICES, name
            assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[needed], needed
    assert set(COMPOSE["volumes"]) == {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume[0] != "."
    }
    listens = environment_of("web")["PORT"]
    assert SERVICES["web"]["ports"] == [f"127.0.0.1:${{PORT:-8000}}:{listens}"]
    assert ("--bind", f"0.0.0.0:{listens}") in pairs(command_of("web"))
    assert f"127.0.0.1:{listens}/health/" in SERVICES["web"]["healthcheck"]["test"][-1]
    assert environment_of("web")["HOST"] == "0.0.0.0"  # noqa: S104 - inside a container


def test_the_image_is_made_of_what_exists() -> None:
    wanted = (ROOT / ".dockerignore").read_text().splitlines()
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY "):
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in wanted, f"{source} is not let into the image"


def test_secrets_are_made_once_and_fit(tmp_path: Path) -> None:
    made = make_secrets(tmp_path)
    assert set(made) == set(COMPOSE["secrets"])
    assert make_secrets(tmp_path) == made
    environ = bare_environ(
        SECRET_KEY=made["secret_key"],
        READER_KEY=made["reader_key"],
        EXECUTOR_KEY=made["executor_key"],
        CHECKPOINT_KEY=made["checkpoint_key"],
        DATABASE_URL=made["app_database_url"],
        FAILOVER_DESK_DATA=str(tmp_path),
    )
    verdict = "import django; django.setup(); from dashboard.checks import refuse_wrong_settings as ask; ask(role='up')"
    subprocess.run(
        [sys.executable, "-c", verdict],
        env=environ | {"DJANGO_SETTINGS_MODULE": "dashboard.settings"},
        cwd=ROOT,
        check=True,
    )
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


@dataclass(frozen=True)
class Machine:
    """Where the places of the compose file are in this test."""

    folder: Path
    redis_port: int
    web_port: int
    database: str

    def environ(self, service: str) -> dict[str, str]:
        secrets = str(self.folder / "secrets")
        given = {name: value.replace("/run/secrets", secrets) for name, value in environment_of(service).items()}
        for place in ("/fence", "/checkpoints"):
            given = {name: re.sub(f"^{place}/", f"{self.folder}{place}/", value) for name, value in given.items()}
        if "REDIS_URL" in given:
            given["REDIS_URL"] = f"redis://127.0.0.1:{self.redis_port}/0"
        return bare_environ(FAILOVER_DESK_DATA=str(self.folder), STATIC_ROOT=str(self.folder / "static"), **given)

    def command(self, service: str) -> list[str]:
        words = command_of(service)
        listens = f"127.0.0.1:{self.web_port}"
        return [sys.executable, *(re.sub(r"^0\.0\.0\.0:\d+$", listens, word) for word in words[1:])]

    def run(self, service: str) -> Any:
        return running(self.command(service), self.folder / f"{service}.log", environ=self.environ(service))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("compose")
    with ExitStack() as stack:
        try:
            url = stack.enter_context(running_postgres(durable=True))
        except PostgresMissing as missing:
            pytest.skip(str(missing))
        socket = url.partition("host=")[2]
        make_secrets(folder)
        make_roles(folder, socket)
        for secret in (folder / "secrets").glob("*_database_url"):
            secret.chmod(0o600)
            secret.write_text(secret.read_text().replace("@postgres:5432/desk", f"@/desk?host={socket}"))
        port = free_port()
        redis, _ = embedded.plan_redis(folder, {})
        words = [redis.command[0], *command_of("redis")[1:], "--port", str(port), "--dir", str(folder)]
        stack.enter_context(running(words, folder / "redis.log"))
        here = Machine(folder, port, free_port(), url)
        with here.run("migrate") as migrate:
            assert migrate.process.wait(timeout=120) == 0, migrate.output()
        yield here


def make_secrets(folder: Path) -> dict[str, str]:
    (folder / "docker").mkdir(exist_ok=True)
    shutil.copy(ROOT / "docker/make-secrets", folder / "docker")
    subprocess.run([folder / "docker/make-secrets"], check=True)
    return {path.name: path.read_text() for path in (folder / "secrets").iterdir()}


def make_roles(folder: Path, socket: str) -> None:
    environ = {
        name: value.replace("/run/secrets", f"{folder}/secrets") for name, value in environment_of("postgres").items()
    }
    path = f"{find_programs()}{os.pathsep}{os.environ['PATH']}"
    mounted = next(volume for volume in SERVICES["postgres"]["volumes"] if volume.startswith("."))
    environ |= {"PATH": path, "PGHOST": socket, "POSTGRES_USER": OWNER}
    subprocess.run([ROOT / mounted.split(":")[0]], env=environ, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.faults
@pytest.mark.parametrize("service", ["worker-send", "worker-observe"])
def test_a_worker_becomes_ready_and_stops_when_asked(machine: Machine, service: str) -> None:
    with machine.run(service) as worker:
        eventually(lambda: worker.says(f"{service.removeprefix('worker-')}@") and worker.says("ready."))
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(timeout=75) == 0, worker.output()


@pytest.mark.faults
def test_the_relay_goes_to_work_and_stops_when_asked(machine: Machine) -> None:
    with machine.run("relay") as relay, psycopg.connect(machine.database.replace("/postgres?", "/desk?")) as database:

        def works() -> bool:
            assert runs(relay.pid), relay.output()
            found = database.execute("SELECT count(*) FROM audit_sink WHERE name = 'file' AND wanted").fetchone()
            database.rollback()
            return found == (1,)

        eventually(works)
        relay.process.send_signal(signal.SIGTERM)
        assert relay.process.wait(timeout=75) == 0, relay.output()


@pytest.mark.faults
def test_the_web_server_is_healthy_and_stops_when_asked(machine: Machine) -> None:
    collect = [sys.executable, str(ROOT / "manage.py"), "collectstatic", "--no-input"]
    subprocess.run(collect, env=machine.environ("web"), check=True, stdout=subprocess.DEVNULL)
    with machine.run("web") as web:

        def is_healthy() -> bool:
            assert runs(web.pid), web.output()
            try:
                return httpx.get(f"http://127.0.0.1:{machine.web_port}/health/", timeout=5).status_code == 200
            except httpx.TransportError:
                return False

        eventually(is_healthy)
        web.process.send_signal(signal.SIGTERM)
        assert web.process.wait(timeout=75) == 0, web.output()


@pytest.mark.faults
def test_the_account_of_the_desk_cannot_switch_a_guard_off(machine: Machine) -> None:
    app = (machine.folder / "secrets/app_database_url").read_text().strip()
    with psycopg.connect(app) as database:
        for attempt in (
            "ALTER TABLE audit_entry DISABLE TRIGGER ALL",
            "TRUNCATE audit_entry",
            "DROP TABLE audit_entry",
            "UPDATE audit_entry SET tag = 'x'",
            "DELETE FROM audit_entry",
            "UPDATE audit_checkpoint SET seq = 1",
            "DELETE FROM audit_checkpoint",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                database.execute(attempt)
            database.rollback()


def pairs(command: list[str]) -> list[tuple[str, str]]:
    return list(pairwise(command))


def without(flags: set[str], command: list[str]) -> list[str]:
    dropped = {number + offset for number, word in enumerate(command) if word in flags for offset in (0, 1)}
    return [word for number, word in enumerate(command) if number not in dropped]

"""`limner support-bundle`: what helps to understand an installation, in one ZIP, without prompts and secrets."""

from __future__ import annotations

import json
import platform
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any, Final

import httpx
from redis import Redis

from limner_client.certificates import trusted
from limner_client.local.doctor import examine
from limner_client.local.findings import Check
from limner_client.operations import vacuum
from limner_client.operations.redaction import Redaction
from limner_shared.db import fleet_queries, pause_queries, release_queries
from limner_shared.db.engine import Database
from limner_shared.db.schema import is_current, schema_revisions
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import Priority
from limner_shared.errors import ConfigurationError, LimnerError
from limner_shared.messaging.hints import connect
from limner_shared.messaging.reports import DispatcherReport, WorkerReport, read_reports
from limner_shared.messaging.typed_redis import server_info
from limner_shared.settings import Settings

MAX_LOG_BYTES: Final = 2 << 20
"""Of each log, only its end is taken."""
TIMEOUT_SECONDS: Final = 5.0
REDIS_FIELDS: Final = (
    *("redis_version", "server_name", "valkey_version", "uptime_in_seconds", "used_memory", "maxmemory"),
    *(
        "maxmemory_policy",
        "aof_enabled",
        "connected_clients",
        "blocked_clients",
        "evicted_keys",
        "rejected_connections",
    ),
)
README: Final = """Limner support bundle, {at}

versions.json   Limner, Python and all installed packages
settings.json   the settings of the machine where this was made; of secrets only whether they are set
findings.json   what `limner doctor` found there
schema.json     the revision of the database's schema
vacuum.json     what `limner db vacuum-report` found
queues.json     running and waiting jobs by model and lane, and what is paused: numbers and names
processes.json  the reports of dispatchers and workers
redis.json      version, memory and policies of Redis
metrics/        the metrics of the web server, dispatchers and workers
logs/           the ends of the log files, {log_bytes} bytes of each
missing.json    what could not be read, and why

It holds no prompts, descriptions, pictures, keys, passwords or webhook secrets. Look through it before you send it.
"""


class Bundle:
    """Writes parts into a ZIP. A part that cannot be read is listed, and the others are written."""

    def __init__(self, archive: zipfile.ZipFile, redact: Redaction) -> None:
        self._archive = archive
        self._redact = redact
        self.missing: dict[str, str] = {}

    def add(self, name: str, read: Callable[[], str]) -> None:
        """Add a text."""
        try:
            text = read()
        except Exception as error:  # noqa: BLE001 - a broken installation is what a bundle is made for
            said = error.message if isinstance(error, LimnerError) else str(error)
            reason = (said.splitlines() or [type(error).__name__])[0]  # httpx adds a second line, with a link
            self.missing[name] = self._redact(reason.strip())[:300]
        else:
            self._archive.writestr(name, self._redact(text))

    def add_json(self, name: str, read: Callable[[], Any]) -> None:
        """Add a value as JSON."""
        self.add(name, lambda: json.dumps(read(), indent=1, default=str))


def write(settings: Settings, file: Path, server: str, logs: Iterable[Path]) -> dict[str, str]:
    """Write the bundle; `server` serves the metrics. Returns what could not be read, and why.

    Raises ConfigurationError if the file exists or cannot be written.
    """
    redact = Redaction(settings)
    try:
        with file.open("xb") as opened, zipfile.ZipFile(opened, "w", zipfile.ZIP_DEFLATED) as archive:
            file.chmod(0o600)
            bundle = Bundle(archive, redact)
            at = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
            bundle.add("README.txt", lambda: README.format(at=at, log_bytes=MAX_LOG_BYTES))
            bundle.add_json("versions.json", _versions)
            bundle.add_json("settings.json", lambda: redact.settings(settings))
            bundle.add_json("findings.json", lambda: _checks(examine(settings)))
            _add_database(bundle, settings)
            bundle.add_json("processes.json", lambda: _with_redis(settings, _processes))
            bundle.add_json("redis.json", lambda: _with_redis(settings, _redis))
            _add_metrics(bundle, settings, server)
            for number, log in enumerate(dict.fromkeys(logs)):
                bundle.add(f"logs/{number}-{log.name}", lambda log=log: _end_of(log))
            archive.writestr("missing.json", json.dumps(bundle.missing, indent=1))
            return bundle.missing
    except FileExistsError as error:
        raise ConfigurationError(f"{file} exists already: choose another name with --output.") from error
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}.") from error


def log_files(settings: Settings) -> list[Path]:
    """The log files that `limner up` writes."""
    folder = settings.data_dir / "logs"
    return sorted([*folder.glob("*.log"), *folder.glob("*.log.1")])


def _versions() -> dict[str, Any]:
    installed = {each.name: each.version for each in distributions()}
    system = {"python": sys.version, "system": platform.platform(), "machine": platform.machine()}
    return {"limner": version("limner"), **system, "packages": dict(sorted(installed.items()))}


def _checks(checks: Iterable[Check]) -> list[dict[str, str]]:
    return [{"check": each.name, "state": each.state, "found": each.found, "advice": each.advice} for each in checks]


# --- database ---


def _add_database(bundle: Bundle, settings: Settings) -> None:
    url = settings.session_database_url
    if url.startswith("sqlite") and not Path(url.removeprefix("sqlite:///")).exists():
        bundle.missing["database"] = "SQLite, not created yet"  # opening it would create it
        return
    try:
        database = Database(url)
    except Exception as error:  # noqa: BLE001 - a driver may be missing, or the URL be none
        bundle.add("schema.json", lambda error=error: _raise(error))
        return
    try:
        bundle.add_json("schema.json", lambda: _schema(database, url))
        bundle.add_json("vacuum.json", lambda: _checks(vacuum.report(database)))
        bundle.add_json("queues.json", lambda: _queues(database, settings))
    finally:
        database.dispose()


def _raise(error: Exception) -> str:
    raise error


def _schema(database: Database, url: str) -> dict[str, Any]:
    revision, serves_from = schema_revisions(database)
    kind = database.engine.dialect.name
    return {"kind": kind, "revision": revision, "serves_from": serves_from, "current": is_current(database, url)}


def _queues(database: Database, settings: Settings) -> dict[str, Any]:
    models = Catalogue.load(settings.models, settings.default_model).cards
    with database.read() as session:
        running = fleet_queries.running_by_model(session)
        queues = {
            model: {
                "running": running.get(model, 0),
                "released": {
                    lane.name.lower(): asdict(size)
                    for lane, size in release_queries.released_sizes(session, model).items()
                },
                "backlog": {
                    priority.value: asdict(release_queries.backlog_size(session, model, priority.rank))
                    for priority in Priority
                },
            }
            for model in models
        }
        paused = [{"kind": row.kind, "id": row.subject, "until": row.until} for row in pause_queries.pauses(session)]
    return {"models": queues, "paused": paused}


# --- Redis ---


def _with_redis(settings: Settings, read: Callable[[Redis], Any]) -> Any:
    with connect(settings.redis_url) as redis:
        return read(redis)


def _processes(redis: Redis) -> dict[str, Any]:
    dispatchers, workers = read_reports(redis, DispatcherReport), read_reports(redis, WorkerReport)
    return {
        "dispatchers": [report.model_dump(mode="json") for report in dispatchers],
        "workers": [report.model_dump(mode="json") for report in workers],
    }


def _redis(redis: Redis) -> dict[str, Any]:
    info = server_info(redis)
    return {name: info[name] for name in REDIS_FIELDS if name in info}


# --- metrics and logs ---


def _add_metrics(bundle: Bundle, settings: Settings, server: str) -> None:
    headers = {"Authorization": f"Bearer {settings.metrics_key}"} if settings.metrics_key else {}
    with httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False, verify=trusted()) as http:
        bundle.add("metrics/web.txt", lambda: _text(http, f"{server}/metrics", headers))
        addresses: list[str] = []

        def find() -> list[str]:
            groups: Any = http.get(f"{server}/metrics/targets", headers=headers).raise_for_status().json()
            addresses.extend(str(address) for group in groups for address in group["targets"])
            return addresses

        bundle.add_json("metrics/targets.json", find)
        for address in addresses:
            name = f"metrics/{address.replace(':', '-').replace('/', '-')}.txt"
            bundle.add(name, lambda address=address: _text(http, f"http://{address}/metrics", {}))


def _text(http: httpx.Client, url: str, headers: dict[str, str]) -> str:
    return http.get(url, headers=headers).raise_for_status().text


def _end_of(log: Path) -> str:
    """The last MAX_LOG_BYTES of a file, from the beginning of a line."""
    with log.open("rb") as opened:
        size = opened.seek(0, 2)
        opened.seek(max(0, size - MAX_LOG_BYTES))
        data = opened.read()
    return (data if size <= MAX_LOG_BYTES else data.partition(b"\n")[2]).decode("utf-8", "replace")

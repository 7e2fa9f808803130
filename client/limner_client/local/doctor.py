"""`limner doctor`: checks of the installation and the configuration, with advice for each that fails."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from limner_client.local.embedded_valkey import binary, port_in_use
from limner_client.local.findings import Check, State
from limner_client.local.package_checks import package_checks
from limner_client.local.picture_checks import is_made, picture_checks, sqlite_file, store_advice
from limner_shared.c2pa_signing import PictureSigner
from limner_shared.db.engine import Database
from limner_shared.db.schema import NEWER, standing
from limner_shared.domain.card_fields import Source
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import Catalogue
from limner_shared.errors import LimnerError
from limner_shared.messaging.hints import connect
from limner_shared.messaging.reports import SLOW_SECONDS, STORE, DispatcherReport, WorkerReport, read_reports
from limner_shared.messaging.typed_redis import server_info
from limner_shared.settings import Settings

DATABASE_FULL: Final = "cannot write: the disk of the database is full"
FULL_ADVICE: Final = "Free some space on the disk of the database. No job is lost; new ones are refused meanwhile."
DEVICE_SECONDS: Final = 120
DEVICE_PROGRAM: Final = (
    "import torch; print('cuda: ' + torch.cuda.get_device_name() if torch.cuda.is_available() else "
    "'mps' if torch.backends.mps.is_available() else 'cpu')"
)
CERTIFICATE_WARNING: Final = timedelta(days=30)
CERTIFICATE_ADVICE: Final = "Replace it, then restart workers and web servers: signed pictures fail afterwards."
LOW_BYTES: Final = 2 << 30
NO_BYTES: Final = 200 << 20
SHOWN_FAILING_ITEMS: Final = 3


def examine(settings: Settings) -> Iterator[Check]:
    """Run all checks and yield each result. Changes nothing, except that it writes one small blob to the store."""
    yield from package_checks()
    yield _device()
    yield database_check(settings)
    yield from _redis(settings)
    yield from picture_checks(settings)
    yield from card_checks(settings)
    yield from certificate_checks(settings)
    yield from _disks(settings)
    yield _port(settings)


def _device() -> Check:
    if find_spec("torch") is None:
        return Check("device", State.WARN, "no torch", "Only workers need it: pip install 'limner[worker]'")
    try:
        # In a separate process: a broken driver can hang or crash the process that uses it.
        probe = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-c", DEVICE_PROGRAM], capture_output=True, text=True, timeout=DEVICE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Check("device", State.FAIL, "torch does not answer", "Check the GPU driver, or set LIMNER_DEVICE=cpu.")
    if probe.returncode != 0:
        reason = (probe.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Check(
            "device", State.FAIL, f"torch does not work: {reason}", "Install again: pip install 'limner[worker]'"
        )
    return Check("device", State.OK, probe.stdout.strip())


def database_check(settings: Settings) -> Check:
    """Whether the database can be used, and has a schema that this version supports."""
    url = settings.session_database_url
    if not is_made(url):
        return Check(
            "database", State.WARN, "SQLite, not created yet", "`limner up` or `limner db upgrade` creates it."
        )
    try:
        database = Database(url)
        shown = database.engine.url.render_as_string(hide_password=True)
        found = standing(database, url)
        database.dispose()
    except (SQLAlchemyError, ImportError, LimnerError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        return Check("database", State.FAIL, reason, "Check LIMNER_DATABASE_URL and that the server runs.")
    if found == "older":
        return Check("database", State.FAIL, f"{shown}: an older schema", "Run `limner db upgrade`.")
    if found == "newer":
        return Check("database", State.FAIL, f"{shown}: a newer schema", NEWER)
    return Check("database", State.OK, f"{shown}, schema is current")


def _redis(settings: Settings) -> Iterator[Check]:
    if "redis_url" not in settings.model_fields_set:
        try:
            yield Check("redis", State.OK, f"embedded: {binary().name}, started by `limner up`")
        except LimnerError as error:
            yield Check("redis", State.FAIL, "none", error.message)
        return
    try:
        with connect(settings.redis_url) as client:
            info = server_info(client)
            dispatchers, workers = read_reports(client, DispatcherReport), read_reports(client, WorkerReport)
    except (RedisError, LimnerError) as error:
        yield Check("redis", State.FAIL, str(error), "Check LIMNER_REDIS_URL and that the server runs.")
        return
    yield Check("redis", State.OK, f"version {info.get('redis_version')}, {info.get('used_memory_human')} used")
    if not info.get("aof_enabled"):
        yield Check(
            "redis file",
            State.WARN,
            "no append-only file",
            "Set appendonly yes: the queues then survive a restart of Redis.",
        )
    if info.get("maxmemory_policy") not in ("noeviction", None):
        advice = "Set maxmemory-policy noeviction: Redis must not evict queues."
        yield Check("redis memory", State.FAIL, str(info.get("maxmemory_policy")), advice)
    elif "maxmemory" in info and not info["maxmemory"]:
        advice = "Set maxmemory below the memory of its machine or container, so that the kernel does not end it."
        yield Check("redis memory", State.WARN, "no limit", advice)
    yield from dispatcher_checks(dispatchers)
    yield from worker_checks(workers)


def dispatcher_checks(reports: Sequence[DispatcherReport]) -> Iterator[Check]:
    """Yield one check for each dispatcher's report, or a warning if none runs."""
    if not reports:
        yield Check(
            "dispatcher", State.WARN, "none is running", "Start `limner dispatcher`: it releases jobs to the workers."
        )
    for report in reports:
        name = f"dispatcher {report.owner}"
        leads = ", ".join(report.leads) or "nothing, as a standby"
        slow = report.slow_threads(SLOW_SECONDS)
        if slow:
            advice = "Its log says what it waits for: the database or the picture store."
            yield Check(name, State.FAIL, f"blocked on one item: {', '.join(slow)}", advice)
        elif report.database_full:
            yield Check(name, State.FAIL, DATABASE_FULL, FULL_ADVICE)
        elif report.set_aside_count:
            shown = [f"{aside.duty}: {aside.item} ({aside.error}, {aside.failures} ×)" for aside in report.set_aside]
            found = f"{report.set_aside_count} set aside: {'; '.join(shown[:SHOWN_FAILING_ITEMS])}"
            yield Check(name, State.WARN, found, "Its log says why they fail; they are retried.")
        else:
            yield Check(name, State.OK, f"leads {leads}")


def worker_checks(reports: Sequence[WorkerReport]) -> Iterator[Check]:
    """Yield one check for each worker's report, or a warning if none runs."""
    if not reports:
        yield Check("worker", State.WARN, "none is running", "Start `limner worker`: it generates the pictures.")
    for report in reports:
        name = f"worker {report.owner}"
        if report.stalled:
            advice = "It ends itself soon, and its supervisor should start it again. Its log says what it waits for."
            yield Check(name, State.FAIL, f"stalled: {', '.join(report.stalled)}", advice)
        elif report.database_full:
            yield Check(name, State.FAIL, DATABASE_FULL, FULL_ADVICE)
        elif STORE in report.closed:
            found = f"cannot use the picture store ({report.store or 'other'}); {report.held} jobs wait for it"
            yield Check(name, State.WARN, found, store_advice(report.store))
        elif report.closed:
            advice = "Its log says what failed; it tries again after a pause."
            yield Check(name, State.WARN, f"paused after failures: {', '.join(report.closed)}", advice)
        elif report.draining:
            found = f"draining; {report.held} jobs left" if report.held else "drained: it holds no job"
            yield Check(name, State.WARN, found, "Stop it, or let it take jobs again: `limner drain --undo`.")
        else:
            yield Check(name, State.OK, f"{', '.join(report.models)} on {report.device}; {report.held} jobs")


def card_checks(settings: Settings) -> Iterator[Check]:
    """Yield whether this machine has what each model is loaded from, or what is wrong with a card."""
    try:
        catalogue = Catalogue.load(settings.models, settings.default_model)
    except LimnerError as error:
        yield Check(
            "model cards", State.FAIL, error.message, "Correct the card, or LIMNER_MODELS, LIMNER_DEFAULT_MODEL."
        )
        return
    for card in catalogue.cards.values():
        yield _weights(card)


def _weights(card: ModelCard) -> Check:
    name = f"model {card.name}"
    for source in card.sources():
        missing = _missing(source)
        if missing is not None:
            advice = "Workers need it: correct the card, or install the package or folder that the card names."
            return Check(name, State.WARN, f"not found: {missing}", advice)
    hubs = [source.hub for source in card.sources() if source.hub is not None]
    if hubs:
        return Check(name, State.OK, f"from the hub: {', '.join(hubs)}, downloaded by the first worker")
    return Check(name, State.OK, "weights found")


def _missing(source: Source) -> str | None:
    """Return the part of a source that is missing on this machine; None if it is complete or comes from a hub."""
    if source.folder is not None:
        return None if source.folder.is_dir() else str(source.folder)
    if source.package is None:
        return None
    package, _, folder = source.package.partition(":")
    spec = find_spec(package)
    places = [Path(place) for place in (spec.submodule_search_locations or [])] if spec is not None else []
    if any(place.joinpath(folder).is_dir() for place in places):
        return None
    return source.package


def certificate_checks(settings: Settings) -> Iterator[Check]:
    """Yield whether the certificate of C2PA can sign, and for how long; nothing if none is set and none is needed."""
    try:
        signer = PictureSigner.of(settings)
    except LimnerError as error:
        yield Check("certificate", State.FAIL, error.message, "Workers and web servers do not start with it.")
        return
    if signer is None:
        return
    found = f"{settings.c2pa_certificate} signs until {signer.ends_at:%Y-%m-%d}"
    if signer.ends_at - datetime.now(UTC) < CERTIFICATE_WARNING:
        yield Check("certificate", State.WARN, found, CERTIFICATE_ADVICE)
    else:
        yield Check("certificate", State.OK, found)


def _disks(settings: Settings) -> Iterator[Check]:
    yield _disk("disk", settings.data_dir, "LIMNER_DATA_DIR")
    url = settings.session_database_url
    if url.startswith("sqlite") and not (file := sqlite_file(url)).is_relative_to(settings.data_dir.absolute()):
        yield _disk("database disk", file.parent, "LIMNER_DATABASE_URL")


def _disk(name: str, folder: Path, variable: str) -> Check:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    found = f"{free / (1 << 30):.1f} GB free for {folder}"
    if free < NO_BYTES:
        return Check(name, State.FAIL, found, f"Free some space, or set {variable} to another disk.")
    if free < LOW_BYTES:
        return Check(name, State.WARN, found, "Free some space soon.")
    return Check(name, State.OK, found)


def _port(settings: Settings) -> Check:
    place = f"{settings.host}:{settings.port}"
    if port_in_use(settings.host, settings.port):
        return Check(
            "port", State.WARN, f"{place} is in use", "Limner already runs, or set LIMNER_PORT to another port."
        )
    return Check("port", State.OK, f"{place} is free")

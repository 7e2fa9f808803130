"""Logging: one structured line for each event, on standard error. Prompts are never logged.

The field `job` is one job's id, `jobs` a list of ids (`job_ids`); `trace_id` and `trace_ids` name their traces.
docs/reference/log-events.md lists all events.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from limner_shared import tracing

if TYPE_CHECKING:
    from limner_shared.settings import Settings


LISTED_IDS: Final = 50
"""The most ids in one line."""


def log_to_stderr() -> None:
    """Undo `configure_logging`: each line goes to standard error as it is then, in structlog's own format.

    structlog's own default is standard output, which belongs to a command's result.
    """
    structlog.reset_defaults()
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def configure_logging(settings: Settings, process: str) -> None:
    """Route the records of structlog and of the standard library (Limner's and its dependencies') to one renderer."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _in_process(process),
        _with_traces,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        # For people the local time; for machines UTC, which names its zone, so that lines of several machines compare.
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
        if settings.log_format == "console"
        else structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if settings.log_format == "console"
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer], foreign_pre_chain=shared
    )
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for noisy in ("celery.worker.strategy", "celery.app.trace", "httpx", "alembic.runtime.migration", "kombu"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


def _in_process(process: str) -> structlog.typing.Processor:
    """A processor that adds the process's kind. Not a context variable: those do not reach other threads."""

    def add(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event.setdefault("process", process)
        return event

    return add


def _with_traces(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A processor that adds the traces of the jobs that a line is about, if this process works on them."""
    known = tracing.STATE.trace_ids
    if known and "trace_id" not in event:
        job, jobs = event.get("job"), event.get("jobs")
        if job in known:
            event["trace_id"] = known[job]
        elif isinstance(jobs, (list, dict)):
            found = [known[each] for each in cast("Iterable[str]", jobs) if each in known]
            if found:
                event["trace_ids"] = found
    return event


def begin_request(request_id: str, **ids: str) -> None:
    """Give all lines of this thread or greenlet a request's ids from now on, and nothing of the request before."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id, **ids)


def bind_log_ids(**ids: str) -> None:
    """Add ids to all later lines of the request in progress, such as `job` of the job that it creates."""
    structlog.contextvars.bind_contextvars(**ids)


def log_context(**ids: object) -> AbstractContextManager[None]:
    """A context in which all lines of this thread have these fields, such as the `job` that is worked on."""
    return structlog.contextvars.bound_contextvars(**ids)


def job_ids(ids: Iterable[str]) -> list[str]:
    """Return ids for the field `jobs`: in order, and if there are more than LISTED_IDS, the number of the others."""
    known = sorted(ids)
    more = len(known) - LISTED_IDS
    return [*known[:LISTED_IDS], f"and {more} more"] if more > 0 else known


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger; its calls are `log.info("event", key=value)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


log_to_stderr()

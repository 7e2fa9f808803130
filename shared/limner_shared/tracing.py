"""Traces: one follows a job through web, dispatcher and worker, with a span for each thing that took time.

Nothing is recorded until `trace_export.configure` has given this process a tracer; every function here then returns at
once. What is traced never waits for a collector, and never gets an error of the SDK. No span contains a prompt, a
description or a file.

A span of another process is named by its `traceparent` (W3C Trace Context), which is stored with the job. A job without
one is not traced: its request was not sampled, or was served by a process that does not trace.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span as Recording
    from opentelemetry.trace import Tracer

SpanKind = Literal["internal", "server", "client", "producer", "consumer"]
Attributes = Mapping[str, str | int | float | bool | None]
"""Attributes by their names; those that are None are left out."""

# --- attributes: OpenTelemetry's names where there are some ---

ERROR_TYPE: Final = "error.type"
HTTP_METHOD: Final = "http.request.method"
HTTP_STATUS: Final = "http.response.status_code"
MODEL: Final = "gen_ai.request.model"
BULK_ID: Final = "limner.bulk.id"
JOB_ID: Final = "limner.job.id"
LANE: Final = "limner.lane"
REQUEST_ID: Final = "limner.request.id"

TRACEPARENT: Final = "traceparent"
"""The name of the header of W3C Trace Context."""
MOST_CALLS: Final = 32
"""Calls of the database in one span that get spans of their own: those of a bulk may be thousands."""


class Span:
    """Something that takes time; recorded if `end` is called. Thread-safe."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        """The SDK's span."""
        context = recording.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"
        self.traceparent = f"00-{self.trace_id}-{context.span_id:016x}-{int(context.trace_flags):02x}"
        """Names this span to other processes, and as a parent."""
        self.calls = 0
        self.ended = False

    def annotate(self, attributes: Attributes) -> None:
        """Add attributes."""
        try:
            self.recording.set_attributes(_present(attributes))
        except Exception as error:  # noqa: BLE001 - a trace never breaks what it follows
            _failed(error)

    def end(self, error: str | None = None, *, at: int | None = None) -> None:
        """End it now, or at this time (`clock`); `error` is the code of what went wrong. Later calls do nothing."""
        if self.ended:
            return
        self.ended = True
        try:
            if error is not None:
                from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - an optional package

                self.recording.set_attribute(ERROR_TYPE, error)
                self.recording.set_status(Status(StatusCode.ERROR))
            self.recording.end(at)
        except Exception as unexpected:  # noqa: BLE001
            _failed(unexpected)


Parent = Span | str | None
"""A span, or the `traceparent` of one."""


@dataclass(slots=True)
class State:
    """This process's tracer, and the traces of the jobs that it works on."""

    tracer: Tracer | None = None
    trace_ids: dict[str, str] = field(default_factory=dict[str, str])
    """The trace of each job that this process holds, for its log lines."""
    reported: bool = False


STATE: Final = State()
_CURRENT: Final[ContextVar[Span | None]] = ContextVar("limner_span", default=None)


def enabled() -> bool:
    """Whether this process traces."""
    return STATE.tracer is not None


def clock() -> int:
    """The time for `started` and `at`: nanoseconds since 1970."""
    return time.time_ns()


def ago(seconds: float) -> int:
    """The time this many seconds ago."""
    return time.time_ns() - int(seconds * 1e9)


def current() -> Span | None:
    """The span of the request in progress, on this thread or greenlet.

    A greenlet inherits it from the one that starts it, and may outlive the request.
    """
    span = None if STATE.tracer is None else _CURRENT.get()
    return None if span is None or span.ended else span


def set_current(span: Span | None) -> None:
    """Make it the span of the request in progress."""
    _CURRENT.set(span)


def current_traceparent() -> str | None:
    """What is stored with a job that this request makes."""
    span = current()
    return None if span is None else span.traceparent


def annotate(attributes: Attributes) -> None:
    """Add attributes to the span of the request in progress."""
    span = current()
    if span is not None:
        span.annotate(attributes)


# --- begin and record ---


def start(
    name: str,
    parent: Parent,
    attributes: Attributes | None = None,
    *,
    kind: SpanKind = "internal",
    started: int | None = None,
) -> Span | None:
    """Begin a span below another one, now or at `started`; None without a parent, or if it is not recorded."""
    if STATE.tracer is None or parent is None:
        return None
    try:
        context = _context(parent)
        return None if context is None else _begin(name, context, attributes, kind, started)
    except Exception as error:  # noqa: BLE001 - a trace never breaks what it follows
        return _failed(error)


def start_request(name: str, headers: Mapping[str, str], attributes: Attributes) -> Span | None:
    """Begin the span of a request: in the client's trace if its headers (lower-case names) name one, else in a new one.
    None if the sampler leaves it out.
    """
    if STATE.tracer is None:
        return None
    try:
        from opentelemetry.context import Context  # noqa: PLC0415
        from opentelemetry.propagate import extract  # noqa: PLC0415

        return _begin(name, extract(headers, Context()), attributes, "server", None)
    except Exception as error:  # noqa: BLE001
        return _failed(error)


def start_linked(name: str, link: Span | None, attributes: Attributes) -> Span | None:
    """Begin the first span of a new trace that links to another one; None if the sampler leaves it out."""
    if STATE.tracer is None:
        return None
    try:
        from opentelemetry.context import Context  # noqa: PLC0415
        from opentelemetry.trace import Link  # noqa: PLC0415

        links = () if link is None else (Link(link.recording.get_span_context()),)
        return _begin(name, Context(), attributes, "producer", None, links)
    except Exception as error:  # noqa: BLE001
        return _failed(error)


def record(
    name: str,
    parent: Parent,
    started: int,
    attributes: Attributes | None = None,
    *,
    kind: SpanKind = "internal",
    ended: int | None = None,
    error: str | None = None,
) -> None:
    """Record what began at `started` and has just ended, or ended at `ended`."""
    if STATE.tracer is None or parent is None:
        return
    span = start(name, parent, attributes, kind=kind, started=started)
    if span is not None:
        span.end(error, at=ended)


def record_call(name: str, seconds: float, error: str | None = None) -> None:
    """Record a call of the request in progress that has just ended after this many seconds."""
    span = current()
    if span is not None and span.calls < MOST_CALLS:
        span.calls += 1
        record(name, span, ago(seconds), kind="client", error=error)


# --- log lines ---


def hold(job_id: str, trace_id: str) -> None:
    """Let all log lines about a job have the id of its trace until `release`."""
    STATE.trace_ids[job_id] = trace_id


def release(job_id: str) -> None:
    """End what `hold` began."""
    STATE.trace_ids.pop(job_id, None)


# --- the SDK's types ---


def _begin(
    name: str, context: Context, attributes: Attributes | None, kind: SpanKind, started: int | None, links: Any = ()
) -> Span | None:
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    if STATE.tracer is None:
        return None
    kind_of = SpanKind[kind.upper()]
    recording = STATE.tracer.start_span(name, context, kind_of, _present(attributes or {}), links, started)
    return Span(recording) if recording.is_recording() else None


def _context(parent: Span | str) -> Context | None:
    """The context of a parent; None for a damaged `traceparent`."""
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace import get_current_span, set_span_in_context  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    if isinstance(parent, Span):
        return set_span_in_context(parent.recording, Context())
    found = TraceContextTextMapPropagator().extract({TRACEPARENT: parent}, Context())
    return found if get_current_span(found).get_span_context().is_valid else None


def _present(attributes: Attributes) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in attributes.items() if value is not None}


def _failed(error: Exception) -> None:
    # Not through the log, which asks this module for the ids of traces.
    if not STATE.reported:
        STATE.reported = True
        sys.stderr.write(f"tracing does not work: {error!r}\n")

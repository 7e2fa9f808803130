"""Traces: one follows a job through web, dispatcher and worker, with a span for each thing that took time.

Nothing is recorded until `trace_export.configure` has given this process a recorder; until then every function here
returns at once. What is traced never waits for a collector, and never gets an error of the SDK. No span contains a
prompt, a description or a file.

A span of another process is named by its `traceparent` (W3C Trace Context), which is stored with the job. A job without
one is not traced: its request was not sampled, or was served by a process that does not trace.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from opentelemetry.trace import Link, SpanContext

Kind = Literal["internal", "server", "client", "producer", "consumer"]
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


class Recorder(Protocol):
    """What makes this process's spans: `span_recorder.Recorder`, which needs the packages of OpenTelemetry."""

    def child(
        self, name: str, parent: Span | str, attributes: Attributes | None, kind: Kind, started: int
    ) -> Span | None:
        """Begin a span below another one; None if that one is not recorded."""
        ...

    def request(self, name: str, headers: Mapping[str, str], attributes: Attributes, started: int) -> Span | None:
        """Begin the span of a request; None if the sampler leaves it out."""
        ...

    def linked(self, name: str, link: Span | None, attributes: Attributes, started: int) -> Span | None:
        """Begin the first span of a new trace; None if the sampler leaves it out."""
        ...

    def ended(self, span: Span, error: str | None, at: int) -> None:
        """Pass on a span that has ended."""
        ...


class Span:
    """Something that takes time; recorded if `end` is called. Thread-safe."""

    def __init__(
        self,
        recorder: Recorder,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        attributes: Attributes | None,
        kind: Kind,
        started: int,
        links: Sequence[Link] = (),
    ) -> None:
        self._recorder = recorder
        self.name = name
        self.context = context
        self.parent = parent
        self.kind: Kind = kind
        self.started = started
        self.links = links
        self.attributes = _present(attributes or {})
        self.calls = 0
        self.ended = False

    @property
    def trace_id(self) -> str:
        """The trace's id in hex."""
        return f"{self.context.trace_id:032x}"

    @property
    def traceparent(self) -> str:
        """Names this span to other processes, and as a parent."""
        return f"00-{self.trace_id}-{self.context.span_id:016x}-{int(self.context.trace_flags):02x}"

    def annotate(self, attributes: Attributes) -> None:
        """Add attributes; none after its end."""
        if not self.ended:
            self.attributes |= _present(attributes)

    def end(self, error: str | None = None, *, at: int | None = None) -> None:
        """End it now, or at this time (`clock`); `error` is the code of what went wrong. Later calls do nothing."""
        if self.ended:
            return
        if error is not None:
            self.annotate({ERROR_TYPE: error})
        self.ended = True
        try:
            self._recorder.ended(self, error, clock() if at is None else at)
        except Exception as unexpected:  # noqa: BLE001 - a trace never breaks what it follows
            _failed(unexpected)


Parent = Span | str | None
"""A span, or the `traceparent` of one."""


@dataclass(slots=True)
class State:
    """What records this process's spans, and the traces of the jobs that it works on."""

    recorder: Recorder | None = None
    trace_ids: dict[str, str] = field(default_factory=dict[str, str])
    """The trace of each job that this process holds, for its log lines."""
    reported: bool = False


STATE: Final = State()
_CURRENT: Final[ContextVar[Span | None]] = ContextVar("limner_span", default=None)


def enabled() -> bool:
    """Whether this process traces."""
    return STATE.recorder is not None


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
    span = None if STATE.recorder is None else _CURRENT.get()
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
    kind: Kind = "internal",
    started: int | None = None,
) -> Span | None:
    """Begin a span below another one, now or at `started`; None without a parent, or if it is not recorded."""
    recorder = STATE.recorder
    if recorder is None or parent is None:
        return None
    try:
        return recorder.child(name, parent, attributes, kind, clock() if started is None else started)
    except Exception as error:  # noqa: BLE001 - a trace never breaks what it follows
        return _failed(error)


def start_request(name: str, headers: Mapping[str, str], attributes: Attributes) -> Span | None:
    """Begin the span of a request: in the client's trace if its headers (lower-case names) name one, else in a new one.
    None if the sampler leaves it out.
    """
    if STATE.recorder is None:
        return None
    try:
        return STATE.recorder.request(name, headers, attributes, clock())
    except Exception as error:  # noqa: BLE001
        return _failed(error)


def start_linked(name: str, link: Span | None, attributes: Attributes) -> Span | None:
    """Begin the first span of a new trace that links to another one; None if the sampler leaves it out."""
    if STATE.recorder is None:
        return None
    try:
        return STATE.recorder.linked(name, link, attributes, clock())
    except Exception as error:  # noqa: BLE001
        return _failed(error)


def record(
    name: str,
    parent: Parent,
    started: int,
    attributes: Attributes | None = None,
    *,
    kind: Kind = "internal",
    ended: int | None = None,
    error: str | None = None,
) -> None:
    """Record what began at `started` and has just ended, or ended at `ended`."""
    if STATE.recorder is None or parent is None:
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


def _present(attributes: Attributes) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in attributes.items() if value is not None}


def _failed(error: Exception) -> None:
    # Not through the log, which asks this module for the ids of traces.
    if not STATE.reported:
        STATE.reported = True
        sys.stderr.write(f"tracing does not work: {error!r}\n")

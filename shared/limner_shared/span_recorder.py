"""Makes spans and hands them to OpenTelemetry's SDK when they end. Only a process that traces imports this.

Of the SDK it uses the sampler, the ids and the processor, but none of its live spans: these lock, copy and check what
is recorded here once, and cost four times as much.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
)

from limner_shared.tracing import Attributes, Kind, Span

TRACEPARENT: Final = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
KINDS: Final[Mapping[Kind, SpanKind]] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
UNSET, ERROR = Status(StatusCode.UNSET), Status(StatusCode.ERROR)


class SharedResource(Resource):
    """A resource that is hashed once: the SDK groups each span of a batch by it, and writes it as JSON for its hash."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.attributes, resource.schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        """The hash, computed once."""
        return self._hash

    def __eq__(self, other: object) -> bool:
        """Whether it is the same, which it always is in one process."""
        return self is other or super().__eq__(other)


class Recorder:
    """Makes the spans of this process. Thread-safe."""

    def __init__(self, provider: TracerProvider, version: str) -> None:
        tracer: Any = provider.get_tracer("limner", version)
        self._sampler = tracer.sampler
        self._ids = tracer.id_generator
        self._processor = tracer.span_processor
        self._resource = SharedResource(tracer.resource)
        self._scope = InstrumentationScope("limner", version)

    def child(
        self, name: str, parent: Span | str, attributes: Attributes | None, kind: Kind, started: int
    ) -> Span | None:
        """Begin a span below another one; None if that is not recorded, or its `traceparent` is damaged."""
        above = parent.context if isinstance(parent, Span) else _parsed(parent)
        if above is None or not above.trace_flags & TraceFlags.SAMPLED:
            return None
        context = SpanContext(above.trace_id, self._ids.generate_span_id(), is_remote=False, trace_flags=SAMPLED)
        return Span(self, name, context, above, attributes, kind, started)

    def request(self, name: str, headers: Mapping[str, str], attributes: Attributes, started: int) -> Span | None:
        """Begin the span of a request, below the one that its headers name if they name one."""
        return self._sampled(name, extract(headers, Context()), attributes, "server", started, ())

    def linked(self, name: str, link: Span | None, attributes: Attributes, started: int) -> Span | None:
        """Begin the first span of a new trace that links to another one."""
        links = () if link is None else (Link(link.context),)
        return self._sampled(name, Context(), attributes, "producer", started, links)

    def ended(self, span: Span, error: str | None, at: int) -> None:
        """Pass on a span that has ended."""
        self._processor.on_end(
            ReadableSpan(
                span.name,
                context=span.context,
                parent=span.parent,
                resource=self._resource,
                attributes=span.attributes,
                links=span.links,
                kind=KINDS[span.kind],
                status=UNSET if error is None else ERROR,
                start_time=span.started,
                end_time=at,
                instrumentation_scope=self._scope,
            )
        )

    def _sampled(
        self, name: str, above: Context, attributes: Attributes, kind: Kind, started: int, links: Sequence[Link]
    ) -> Span | None:
        """A span in this context; None if the sampler leaves it out. Spans below one that is recorded are recorded."""
        parent = get_current_span(above).get_span_context()
        trace_id = parent.trace_id if parent.is_valid else self._ids.generate_trace_id()
        found = self._sampler.should_sample(above, trace_id, name, KINDS[kind], attributes, links)
        if found.decision is not Decision.RECORD_AND_SAMPLE:
            return None
        context = SpanContext(trace_id, self._ids.generate_span_id(), False, SAMPLED, found.trace_state)
        return Span(self, name, context, parent if parent.is_valid else None, attributes, kind, started, links)


def _parsed(traceparent: str) -> SpanContext | None:
    """The context of a span of another process; None if it names none."""
    found = TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    context = SpanContext(
        int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=TraceFlags(int(found[3], 16))
    )
    return context if context.is_valid else None

"""Sends this process's spans to a collector, by OTLP over HTTP. Configured by OpenTelemetry's own variables.

A batch is sent by one thread of the SDK, from a bounded queue: if the collector is slow or away, spans are dropped, and
nothing waits for it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from limner_shared import tracing
from limner_shared.metrics.exposition import installed_version
from limner_shared.process_end import before_end, run_for
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = get_logger(__name__)

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HTTP_PROTOBUF: Final = "http/protobuf"
FLUSH_SECONDS: Final = 2.0
"""How long a process that ends waits for the collector to take its last spans."""


@dataclass(slots=True)
class State:
    """The SDK's parts that must be closed."""

    provider: Any = None


STATE: Final = State()


def configure(settings: Settings, process: str) -> None:
    """Trace in this process if a collector is configured. Call it in the process that traces, not before a fork."""
    endpoint = _endpoint()
    if endpoint is None:
        return
    protocol = next((found for name in PROTOCOLS if (found := os.environ.get(name))), HTTP_PROTOBUF)
    if protocol != HTTP_PROTOBUF:
        log.warning("no traces: only OTLP over HTTP is supported", protocol=protocol)
        return
    try:
        _begin(process)
    except ImportError:
        log.warning("no traces: the extra otel is not installed")
        return
    except Exception as error:  # noqa: BLE001 - a wrong variable of the SDK must not stop the service
        log.warning("no traces: the configuration is not valid", error=f"{type(error).__name__}: {error}"[:200])
        return
    if settings.log_level != "debug":  # the SDK logs every try; `Exporter` logs each outage once
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    before_end(close)
    log.info("traces are sent", endpoint=endpoint)


def close() -> None:
    """Send the last spans, for FLUSH_SECONDS at most, and trace no more."""
    provider, STATE.provider, tracing.STATE.tracer = STATE.provider, None, None
    if provider is not None:
        run_for(FLUSH_SECONDS, "last spans", provider.shutdown)


def _endpoint() -> str | None:
    """The collector's address without what may be secret; None if traces are not wanted."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none":
        return None
    found = next((found for name in ENDPOINTS if (found := os.environ.get(name, "").strip())), None)
    return None if found is None else found.partition("?")[0].rpartition("@")[2]


def _begin(process: str) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - optional
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    own = {
        "service.namespace": "limner",
        "service.name": f"limner-{process}",
        "service.version": installed_version(),
        "process.pid": os.getpid(),
    }
    resource = Resource.create(own).merge(OTELResourceDetector().detect())  # the operator's names win
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # `close` limits the time
    provider.add_span_processor(BatchSpanProcessor(_observed(OTLPSpanExporter())))
    STATE.provider = provider
    tracing.STATE.tracer = provider.get_tracer("limner", installed_version())


def _observed(exporter: SpanExporter) -> SpanExporter:
    """The exporter, with one log line for each outage of the collector."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult  # noqa: PLC0415

    class Exporter(SpanExporter):
        """Passes spans on. Called by one thread at a time."""

        away = False

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            """Send a batch, and log when an outage begins and when it has ended."""
            result = exporter.export(spans)
            away = result is not SpanExportResult.SUCCESS
            if away and not self.away:
                log.warning("the collector takes no traces, spans are dropped", spans=len(spans))
            elif self.away and not away:
                log.info("the collector takes traces again")
            self.away = away
            return result

        def shutdown(self) -> None:
            """Close the connection."""
            exporter.shutdown()

    return Exporter()

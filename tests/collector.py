"""A collector of OTLP over HTTP on loopback, which keeps the spans that arrive."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")


@dataclass(frozen=True)
class ReceivedSpan:
    """A span; ids in hex, times in nanoseconds."""

    name: str
    service: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    attributes: dict[str, Any]
    links: list[str]
    """The traces that it links to."""
    is_error: bool


@dataclass
class Collector:
    """A running collector. While `hangs` is set, it answers nothing."""

    endpoint: str = ""
    spans: list[ReceivedSpan] = field(default_factory=list[ReceivedSpan])
    hangs: threading.Event = field(default_factory=threading.Event)
    requests: int = 0

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of one trace, by their start."""
        return sorted((span for span in list(self.spans) if span.trace_id == trace_id), key=lambda span: span.start)

    def receive(self, body: bytes) -> None:
        """Keep the spans of a request."""
        message = trace_service.ExportTraceServiceRequest.FromString(body)
        for group in message.resource_spans:
            resource = {each.key: value_of(each.value) for each in group.resource.attributes}
            for scope in group.scope_spans:
                self.spans += [read(span, resource["service.name"]) for span in scope.spans]


def value_of(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


def read(span: Any, service: str) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        service=service,
        kind=span.kind,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes={each.key: value_of(each.value) for each in span.attributes},
        links=[link.trace_id.hex() for link in span.links],
        is_error=span.status.code == 2,
    )


@contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector on a free port."""
    state, ended = Collector(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            state.requests += 1
            while state.hangs.is_set() and not ended.wait(0.05):
                continue
            state.receive(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as in the base class
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield state
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()

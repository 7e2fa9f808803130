"""Ends what `trace_export.configure` has begun in this process."""

from __future__ import annotations

import threading
from typing import Final

from limner_shared import trace_export, tracing

EXPORTING: Final = ("last spans", "OtelBatchSpanRecordProcessor")
"""The names of the threads that send spans: Limner's, and the SDK's."""


def exporting_threads() -> list[threading.Thread]:
    """The threads of this process that send spans."""
    return [thread for thread in threading.enumerate() if thread.name in EXPORTING]


def end_tracing() -> None:
    """Trace no more, and wait until nothing sends spans: a thread that goes on logs into the output of later tests."""
    trace_export.close()
    for thread in exporting_threads():
        thread.join(30)


def still_tracing() -> set[object]:
    """What has been begun in this process and not ended: a tracer, and threads that send spans."""
    return {*exporting_threads(), *({tracing.STATE.tracer} if tracing.enabled() else ())}

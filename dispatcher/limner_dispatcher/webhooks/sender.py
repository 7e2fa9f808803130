"""Sends one delivery: a signed POST without redirects, limited in time and in what is read of the answer."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import httpcore
import httpx
from standardwebhooks import Webhook

from limner_dispatcher.webhooks.network import Names, NameUnresolved, Network, TargetRefused
from limner_shared import tracing
from limner_shared.db.webhooks.deliveries import Claimed, Sent
from limner_shared.domain.webhook_targets import Targets
from limner_shared.domain.webhooks import DeliveryState, repeat_seconds
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

USER_AGENT: Final = "Limner-Webhooks/1"
MAX_ANSWER_BYTES: Final = 4096
"""What is read, and logged, of an answer's body; the connection is closed after it."""
MAX_RETRY_AFTER_SECONDS: Final = 3600.0
MESSAGE_CHARS: Final = 300
ERRORS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (TargetRefused, "address_refused"),
    (NameUnresolved, "name_unresolved"),
    (httpcore.TimeoutException, "timed_out"),
    (httpcore.ConnectError, "connection_failed"),
    (httpcore.NetworkError, "connection_lost"),
    (httpcore.ProtocolError, "answer_invalid"),
)
"""The code of each error, the first that fits."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: str
    retry_after: float


class Sender:
    """Sends deliveries, each over its own connection. Thread-safe."""

    def __init__(self, targets: Targets, names: Names, timeout_seconds: float) -> None:
        """`timeout_seconds` limits a whole delivery, from the resolution of the name to the end of the answer."""
        self._targets = targets
        self._names = names
        self._seconds = timeout_seconds
        self._ssl = httpx.create_ssl_context()

    def send(self, claimed: Claimed, body: str) -> Sent:
        """Send a delivery and return the result; nothing is raised. A receiver of a traced job's event gets the
        trace, so that its own spans can be part of it.
        """
        attributes = {
            tracing.JOB_ID: claimed.event.subject_id,
            "limner.webhook.delivery.id": claimed.id,
            tracing.HTTP_METHOD: "POST",
            "http.request.resend_count": claimed.tries - 1 or None,
        }
        span = tracing.start(f"webhook {claimed.event.type}", claimed.traceparent, attributes, kind="client")
        sent = self._send(claimed, body, {} if span is None else {tracing.TRACEPARENT: span.traceparent})
        if span is not None:
            span.annotate({tracing.HTTP_STATUS: sent.status, "network.peer.address": sent.address})
            span.end(sent.error)
        return sent

    def _send(self, claimed: Claimed, body: str, more_headers: Mapping[str, str]) -> Sent:
        started = time.monotonic()
        network = Network(self._targets, self._names, self._seconds)
        headers: dict[str, str] = {}
        answer, error, message = None, None, None
        try:
            headers = signed_headers(claimed.event.id, body, claimed.secrets) | dict(more_headers)
            answer = self._post(network, claimed.url, headers, body.encode())
        except Exception as problem:  # noqa: BLE001 - whatever a receiver does must not reach the others
            error = next((code for kind, code in ERRORS if isinstance(problem, kind)), "not_sent")
            message = f"{type(problem).__name__}: {problem}"[:MESSAGE_CHARS].replace("\x00", "")
            if error == "not_sent":
                log.error("webhook not sent", delivery=claimed.id, error=message)
        if answer is not None and not _is_success(answer.status):
            error, message = "status", f"The receiver answered {answer.status}."
        state = DeliveryState.PENDING if error is not None else DeliveryState.DELIVERED
        if answer is not None and answer.status == HTTPStatus.GONE:
            state = DeliveryState.FAILED
        least = 0.0 if answer is None else answer.retry_after
        return Sent(
            claimed.id,
            claimed.attempt,
            state,
            claimed.url,
            time.monotonic() - started,
            repeat_seconds=max(least, repeat_seconds(claimed.tries, random.random())),  # noqa: S311 - jitter
            address=network.address,
            request_headers=headers,
            status=None if answer is None else answer.status,
            answer=None if answer is None else answer.body,
            error=error,
            error_message=message,
        )

    def _post(self, network: Network, address: str, headers: Mapping[str, str], body: bytes) -> _Answer:
        url = httpx.URL(address)
        if url.scheme != "https" and not self._targets.names(url.host):
            raise TargetRefused("http is allowed only for the operator's targets")
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        sent = {"Host": url.netloc.decode(), **headers, "Content-Length": str(len(body))}
        raw = [(name.encode(), value.encode()) for name, value in sent.items()]
        with (
            httpcore.ConnectionPool(ssl_context=self._ssl, max_connections=1, network_backend=network) as pool,
            pool.stream("POST", target, headers=raw, content=body) as answer,
        ):
            received = b""
            for part in answer.iter_stream():
                received += part
                if len(received) >= MAX_ANSWER_BYTES:
                    break
            text = received[:MAX_ANSWER_BYTES].decode(errors="replace").replace("\x00", "\ufffd")
            return _Answer(answer.status, text, _retry_after(answer.headers))


def signed_headers(event_id: str, body: str, secrets: Sequence[str]) -> dict[str, str]:
    """The headers of Standard Webhooks; during an overlap there is a signature by each secret, the newest first.

    Raises ValueError without a secret, since receivers must be able to verify everything.
    """
    if not secrets:
        raise ValueError("there is no secret to sign with")
    moment = datetime.now(UTC).replace(microsecond=0)
    signatures = [Webhook(secret).sign(event_id, moment, body) for secret in secrets]
    return {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "webhook-id": event_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def _retry_after(headers: Sequence[tuple[bytes, bytes]]) -> float:
    """The seconds of the answer's `Retry-After`, at most an hour; 0 without one."""
    value = next((value for name, value in headers if name.lower() == b"retry-after"), b"")
    return min(MAX_RETRY_AFTER_SECONDS, float(value)) if value.isdigit() else 0.0

"""The duty that delivers webhooks. One dispatcher leads it, so that the limits of a receiver hold for the whole
service; a lease on every delivery keeps two from sending it at once while the lead changes.

The thread of the duty claims and records; the pool's threads only send. What a receiver does reaches neither.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Final

from limner_dispatcher.item_runner import ItemRunner
from limner_dispatcher.leadership import Leadership
from limner_dispatcher.webhooks.bodies import Bodies
from limner_dispatcher.webhooks.network import Names
from limner_dispatcher.webhooks.pacing import Pacing
from limner_dispatcher.webhooks.sender import Sender
from limner_shared import metrics
from limner_shared.db.engine import Database, describe, is_away
from limner_shared.db.signed_links import SignedLinks
from limner_shared.db.webhooks import deliveries
from limner_shared.db.webhooks.deliveries import Claimed, Sent
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.webhook_targets import Targets
from limner_shared.domain.webhooks import DeliveryState, DueReceiver
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor

log = get_logger(__name__)

DUTY: Final = "webhooks"
SLOTS: Final = 128
"""Deliveries that one dispatcher sends at a time."""
LEASE_MARGIN_SECONDS: Final = 30.0
"""A delivery's lease is longer than its time limit by this much, for the record of its result."""
RECEIVERS_AT_ONCE: Final = 256
RATED_SECONDS: Final = 0.05
"""The pause before the next round while a receiver waits for its rate."""


class Deliveries:
    """Claims due deliveries, has them sent, and records the results."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        leadership: Leadership,
        runner: ItemRunner,
        supervisor: Supervisor,
        catalogue: Catalogue,
    ) -> None:
        self._settings = settings
        self._database = database
        self._leadership = leadership
        self._runner = runner
        links = SignedLinks(settings, database)
        self._bodies = Bodies(settings.public_url, catalogue, links)
        self._names = Names(supervisor.pool("webhook-names", SLOTS))
        targets = Targets.parse(settings.webhook_internal_targets)
        self._sender = Sender(targets, self._names, settings.webhook_timeout_seconds)
        self._pacing = Pacing(SLOTS, settings.webhook_concurrency, settings.webhook_rate)
        self._pool = supervisor.pool("webhook", SLOTS)
        self._sent: deque[tuple[str, Sent]] = deque()
        self._unrecorded: list[Sent] = []
        self._after = ""
        self.wake = threading.Event()
        """Set when there is something to do: results, or a hint of new deliveries."""

    def wait(self, seconds: float) -> None:
        """Wait for the next round, at most `seconds`."""
        self.wake.wait(seconds)

    def round(self) -> float:
        """Record results and begin as many deliveries as the limits allow; returns the longest pause before the next
        round, in seconds. Raises NotLeading, and the errors of an unavailable database.
        """
        self.wake.clear()
        self._record()
        with self._database.read() as session:
            due, self._after = deliveries.due_receivers(session, self._after, RECEIVERS_AT_ONCE)
        pause = self._begin(due)  # without any, the records of failing receivers are deleted: their deliveries are gone
        if self._pacing.in_flight:
            with self._leadership.write():
                pass  # keeps the lead, and with it the limits of the receivers that are being sent to
        return 0.0 if self._after else pause

    def close(self) -> None:
        """Wait for the deliveries that are being sent, and record their results."""
        self._pool.close()
        self._names.close()
        try:
            self._record()
        except Exception as error:  # noqa: BLE001 - the deliveries are sent again, with the same ids
            log.warning("results of webhooks not recorded", error=describe(error))

    # --- sending ---

    def _begin(self, due: Sequence[DueReceiver]) -> float:
        allowed = self._pacing.allocate(due)
        begun = 0

        def begin(receiver: str) -> None:
            nonlocal begun
            if receiver in allowed:
                begun += self._begin_some(receiver, allowed[receiver])

        self._runner.each(DUTY, [each.receiver for each in due], begin)
        if begun:
            return 0.0
        return RATED_SECONDS if self._pacing.is_rated(due) else self._settings.dispatch_seconds

    def _begin_some(self, receiver: str, limit: int) -> int:
        lease = self._settings.webhook_timeout_seconds + LEASE_MARGIN_SECONDS
        self._bodies.prepare()
        with self._leadership.write() as session:
            claims = deliveries.claim(session, receiver, limit, lease)
            bodies = self._bodies.make(session, claims)
            deliveries.store_bodies(session, bodies)
        self._pacing.started(receiver, len(claims))
        for claimed in claims:
            body = bodies.get(claimed.event.id) or claimed.event.body or ""
            self._pool.submit(self._send, claimed, body)
        return len(claims)

    def _send(self, claimed: Claimed, body: str) -> None:
        """On a thread of the pool: the result is left to the duty's thread."""
        self._sent.append((claimed.receiver, self._sender.send(claimed, body)))
        self.wake.set()

    # --- results ---

    def _record(self) -> None:
        while self._sent:
            receiver, sent = self._sent.popleft()
            self._pacing.ended(receiver, delivered=sent.state is DeliveryState.DELIVERED)
            self._unrecorded.append(sent)
        if not self._unrecorded:
            return
        try:
            self._finish(self._unrecorded)
        except Exception as error:
            if is_away(error):
                raise  # they are recorded in a later round
            for sent in self._unrecorded:
                self._finish_alone(sent)
        self._unrecorded = []

    def _finish(self, results: Sequence[Sent]) -> None:
        with self._database.write() as session:
            deliveries.finish(session, results)
        metrics.WEBHOOK_DELIVERIES.inc_each((sent.state,) for sent in results)
        for sent in results:
            if sent.state is not DeliveryState.DELIVERED:
                log.info("webhook failed", delivery=sent.delivery_id, error=sent.error, status=sent.status)

    def _finish_alone(self, sent: Sent) -> None:
        """Record one result of several that could not be recorded together; without it, the delivery is repeated."""
        try:
            self._finish([sent])
        except Exception as error:
            if is_away(error):
                raise
            log.error("result of a webhook not recorded", delivery=sent.delivery_id, error=describe(error))

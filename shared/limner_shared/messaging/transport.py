"""Kombu's Redis transport, without the parts that a queue of hints does not need.

Kombu copies every unacknowledged message to a second place in Redis, and restores it when a connection breaks or after
an hour. Here the database records which jobs are not done, and the dispatcher releases within seconds what Redis or a
worker has lost. A restored message would only be one more message that finds nothing to claim, and restoring has ended
workers when Redis was restarted while they ran (celery/celery#10205 and others). Acknowledgement therefore stays in the
worker's memory, where it limits what is fetched.
"""

from __future__ import annotations

from kombu.transport import redis


class HintChannel(redis.Channel):
    """Acknowledges in memory (the transport option `ack_emulation` is off) and restores nothing."""

    do_restore = False


class HintTransport(redis.Transport):
    """The transport for Celery's `broker_transport`."""

    Channel = HintChannel

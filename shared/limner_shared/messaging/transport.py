"""Kombu's Redis transport without what a queue of hints has no use for.

Kombu writes every message that is not acknowledged to a second place in Redis, and puts it back when a connection
breaks or an hour has passed. Here the database knows what is not done, and the dispatcher releases within seconds what
Redis or a worker has lost; a message put back would be one more that finds nothing to claim, and the putting back has
ended workers when Redis was restarted under them (celery/celery#10205 and others). So acknowledgement stays in the
worker's memory, where it limits what is fetched.
"""

from __future__ import annotations

from kombu.transport import redis


class HintChannel(redis.Channel):
    """Acknowledges in memory (the transport option `ack_emulation` is off), and puts nothing back."""

    do_restore = False


class HintTransport(redis.Transport):
    """To be named in Celery's `broker_transport`."""

    Channel = HintChannel

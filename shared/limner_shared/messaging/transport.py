"""Kombu's Redis transport, without the parts that a queue of hints does not need, and with our own connections.

Kombu copies every unacknowledged message to a second place in Redis, and restores it when a connection breaks or after
an hour. Here the database records which jobs are not done, and the dispatcher releases within seconds what Redis or a
worker has lost. A restored message would only be one more message that finds nothing to claim, and restoring has ended
workers when Redis was restarted while they ran (celery/celery#10205 and others). Acknowledgement therefore stays in the
worker's memory, where it limits what is fetched.
"""

from __future__ import annotations

from typing import Any, Final, cast

from kombu.transport import redis

from limner_shared.messaging.redis_servers import ConnectionClass, connection_pool, same

OF_URL: Final = ("host", "port", "db", "username", "password", "connection_class")
"""Options that the URL decides."""


class HintChannel(redis.Channel):
    """Acknowledges in memory (the transport option `ack_emulation` is off) and restores nothing."""

    do_restore = False
    redis_url = ""
    """The URL as in the settings: Celery and our own clients must read it alike."""
    from_transport_options = (*redis.Channel.from_transport_options, "redis_url")

    def _get_pool(self, asynchronous: bool = False) -> Any:
        parameters = cast("dict[str, Any]", self._connparams())
        options = {name: value for name, value in parameters.items() if name not in OF_URL}
        pool = connection_pool(self.redis_url, self._leaving_event_loop if asynchronous else same, **options)
        self.keyprefix_fanout = self.keyprefix_fanout.format(db=pool.connection_kwargs.get("db", 0))
        return pool

    def leave_event_loop(self, connection: Any) -> None:
        """Stop waiting for a connection that was closed."""
        if self._registered:
            cast("Any", self)._on_connection_disconnect(connection)  # noqa: SLF001 - kombu's, which has no types

    def _leaving_event_loop(self, kind: ConnectionClass) -> ConnectionClass:
        """A class of connections that leave the event loop when they are closed, as kombu's do."""
        channel = self

        class LeavesEventLoop(kind):
            def disconnect(self, *args: Any, **options: Any) -> None:
                kind.disconnect(self, *args, **options)
                channel.leave_event_loop(self)

        return LeavesEventLoop


class HintTransport(redis.Transport):
    """The transport for Celery's `broker_transport`."""

    Channel = HintChannel

"""A Redis client that measures its calls: their seconds and their errors."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError

from limner_shared import metrics


class MeasuredRedis(Redis):
    """Measures commands and pipelines, but not subscriptions, which wait on purpose."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command."""
        with measured("command"):
            return cast("Any", super()).execute_command(*args, **options)

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:
        """Return a pipeline whose execution is measured."""
        return MeasuredPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class MeasuredPipeline(Pipeline):
    """Measures its execution as one call."""

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Run all commands."""
        with measured("pipeline"):
            return super().execute(raise_on_error)


@contextmanager
def measured(operation: str, *errors: type[Exception]) -> Generator[None]:
    """Measure a block that calls Redis. RedisError and `errors` count as failures."""
    with metrics.REDIS_SECONDS.time(operation=operation):
        try:
            yield
        except (RedisError, *errors):
            metrics.REDIS_ERRORS.inc(operation=operation)
            raise

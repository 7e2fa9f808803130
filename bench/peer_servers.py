"""Other servers with the same model, one small class each; `bench.peers` starts them.

    LIMNER_PEER=celery|litserve|ray|bentoml python -m bench.peer_servers PORT

LIMNER_PEER selects the server, because processes that a server starts import this file again. All servers listen on
loopback, hold one copy of the model with as many threads as our worker, and answer an order when its image is ready;
they encode no PNG and store nothing. Batching servers run up to 8 whole orders per batch, each with its own number of
steps: a row leaves the computation after its last step (`bench.common.draw`). This favours these servers over running
all rows to the longest, and over batches of equal steps, of which a mixed trace has few. A batch that is not full waits
at most 10 ms; while one batch runs, the next one fills.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, cast

from bench.common import draw
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest
from limner_shared.settings import Settings
from limner_worker.generators.registry import load

PEER: Final = os.environ.get("LIMNER_PEER", "")
BATCH: Final = 8
WAIT_SECONDS: Final = 0.01
HOST: Final = "127.0.0.1"
TASK: Final = "draw"
"""Celery's task, and its queue."""
DONE: Final = "done:"
"""Prefix of the Redis list with Celery's result, for which the client waits."""


def optional(module: str) -> Any:
    """Import a peer's module, which only the peers' environment has; type checkers do not know it."""
    return import_module(module)


class Model:
    """The model that every peer calls."""

    def __init__(self) -> None:
        self._catalogue = Catalogue.load([], "limner-flow")
        self._generator = load(self._catalogue.get(None), Settings(device="cpu"))

    def draw(self, orders: Sequence[dict[str, Any]]) -> list[int]:
        """Run orders (bodies of `POST /jobs`) as one batch; returns the size of each image."""
        specs = [self._catalogue.resolve(JobRequest(**order))[1] for order in orders]
        return [int(picture.size) for picture in draw(self._generator, specs)]


if PEER == "celery":
    from celery import Celery
    from redis import Redis

    def serve(port: int) -> None:
        """Run one process with one task at a time; `port` is that of Redis."""
        url = f"redis://{HOST}:{port}/0"
        app: Any = Celery("peer", broker=url)  # Celery has no types
        app.conf.update(
            task_acks_late=True,
            task_ignore_result=True,
            task_default_queue=TASK,
            worker_prefetch_multiplier=1,
            broker_connection_retry_on_startup=True,
        )
        redis, model = cast("Any", Redis).from_url(url), Model()

        def work(key: str, order: dict[str, Any]) -> None:
            redis.rpush(DONE + key, *model.draw([order]))

        app.task(work, name=TASK)
        app.worker_main(["worker", "--pool", "solo", "-l", "error", "--without-gossip", "--without-mingle"])

elif PEER == "litserve":
    litserve = optional("litserve")

    class LitPeer(litserve.LitAPI):
        """Dynamic batching; by default, a batch is a list."""

        def setup(self, device: str) -> None:
            """Load the model in the worker process."""
            self.model = Model()

        def decode_request(self, request) -> dict[str, Any]:  # noqa: ANN001 # pyright: ignore[reportUnknownParameterType, reportMissingParameterType]
            """Return the body; the parameter has no annotation, because LitServe cannot evaluate string annotations."""
            return cast("dict[str, Any]", request)

        def predict(self, orders: list[dict[str, Any]]) -> list[int]:
            """Run a batch."""
            return self.model.draw(orders)

        def encode_response(self, output: int) -> dict[str, int]:
            """Build one response."""
            return {"size": output}

    def serve(port: int) -> None:
        """Run one worker, without a timeout for orders."""
        api = LitPeer(max_batch_size=BATCH, batch_timeout=WAIT_SECONDS)
        server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=False)
        server.run(host=HOST, port=port, generate_client_file=False, log_level="warning")

elif PEER == "ray":
    ray, ray_serve = optional("ray"), optional("ray.serve")

    @ray_serve.deployment(num_replicas=1, max_ongoing_requests=10_000)
    class RayPeer:
        """`@serve.batch`; the batch runs in a thread, so that the next one can fill."""

        def __init__(self) -> None:
            self.model = Model()

        @ray_serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WAIT_SECONDS)
        async def batch(self, orders: list[dict[str, Any]]) -> list[int]:
            """Run a batch."""
            return await asyncio.to_thread(self.model.draw, orders)

        async def __call__(self, request: Any) -> dict[str, int]:
            """Serve one order."""
            return {"size": await self.batch(await request.json())}

    def serve(port: int) -> None:
        """Run one replica on a local cluster."""
        stopping = threading.Event()
        ray.init(num_cpus=2, include_dashboard=False, _node_ip_address=HOST, log_to_driver=False)
        ray_serve.start(http_options={"host": HOST, "port": port})
        ray_serve.run(RayPeer.bind(), route_prefix="/predict")
        signal.signal(signal.SIGTERM, lambda _signal, _frame: stopping.set())
        stopping.wait()
        ray.shutdown()

elif PEER == "bentoml":
    bentoml = optional("bentoml")

    @bentoml.service(workers=1, traffic={"timeout": 3600, "max_concurrency": 10_000})
    class BentoPeer:
        """Adaptive batching with a very high latency limit, so that it refuses no order."""

        def __init__(self) -> None:
            self.model = Model()

        @bentoml.api(route="/predict", batchable=True, max_batch_size=BATCH, max_latency_ms=3_600_000)
        def predict(self, orders: list[dict[str, Any]]) -> list[int]:
            """Run a batch."""
            return self.model.draw(orders)

    def serve(port: int) -> None:
        """Replace this process by BentoML's own command."""
        command = ["serve", "bench.peer_servers:BentoPeer", "--host", HOST, "--port", str(port)]
        os.execv(sys.executable, [sys.executable, "-m", "bentoml", *command])  # noqa: S606 - no shell is wanted

else:

    def serve(port: int) -> None:
        """Refuse to start without a peer's name."""
        raise SystemExit(f"LIMNER_PEER names no peer: {PEER!r}")


if __name__ == "__main__":
    serve(int(sys.argv[1]))

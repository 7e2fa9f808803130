"""Other servers around the very same model, one small class each, for `bench.peers`, which starts them.

    LIMNER_PEER=celery|litserve|ray|bentoml python -m bench.peer_servers PORT

The environment says which, because processes that a server starts import this file again. All listen on loopback, hold
one copy of the model on as many threads as our worker, and answer an order when its picture is there; they encode no
PNG, store and record nothing. Where orders are batched, a batch is up to 8 whole ones, each for its own number of
steps: a row leaves the computation with its last step (`bench.common.draw`). That is better for these servers than to
run all to the longest, and better than groups of equal steps, of which a mixed trace has few. A batch that is not full
is waited for no longer than 10 ms; while one runs, the next one gathers.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

from bench.common import draw
from limner_shared.domain.cards import Catalogue
from limner_shared.domain.jobs import JobRequest
from limner_shared.settings import Settings
from limner_worker.generators.registry import load

PEER = os.environ.get("LIMNER_PEER", "")
BATCH = 8
WAIT_SECONDS = 0.01
HOST = "127.0.0.1"
TASK = "draw"
"""Celery's task, and its queue."""
DONE = "done:"
"""Where Celery's answer is: a list with one value, for which the client waits."""


class Model:
    """What every peer calls."""

    def __init__(self) -> None:
        self._catalogue = Catalogue.load([], "limner-flow")
        self._generator = load(self._catalogue.get(None), Settings(device="cpu"))

    def draw(self, orders: Sequence[dict[str, Any]]) -> list[int]:
        """The orders, which are bodies of `POST /jobs`, as one batch; each answer is the size of a picture."""
        specs = [self._catalogue.resolve(JobRequest(**order))[1] for order in orders]
        return [int(picture.size) for picture in draw(self._generator, specs)]


if PEER == "celery":
    from celery import Celery
    from redis import Redis

    def serve(port: int) -> None:
        """One process does one task after another; `port` is Redis's."""
        url = f"redis://{HOST}:{port}/0"
        app = Celery("peer", broker=url)
        app.conf.update(
            task_acks_late=True,
            task_ignore_result=True,
            task_default_queue=TASK,
            worker_prefetch_multiplier=1,
            broker_connection_retry_on_startup=True,
        )
        redis, model = Redis.from_url(url), Model()

        def work(key: str, order: dict[str, Any]) -> None:
            redis.rpush(DONE + key, *model.draw([order]))

        app.task(work, name=TASK)
        app.worker_main(["worker", "--pool", "solo", "-l", "error", "--without-gossip", "--without-mingle"])


if PEER == "litserve":
    import litserve

    class LitPeer(litserve.LitAPI):
        """Dynamic batching; by default a batch is a list."""

        def setup(self, device: str) -> None:
            """In the worker's process."""
            self.model = Model()

        def decode_request(self, request) -> dict[str, Any]:  # noqa: ANN001
            """The order is the body; LitServe reads the parameter's type, but not one that is written as a string."""
            return request

        def predict(self, orders: list[dict[str, Any]]) -> list[int]:
            """A batch."""
            return self.model.draw(orders)

        def encode_response(self, output: int) -> dict[str, int]:
            """One answer."""
            return {"size": output}

    def serve(port: int) -> None:
        """One worker, and no limit on how long an order may wait."""
        api = LitPeer(max_batch_size=BATCH, batch_timeout=WAIT_SECONDS)
        server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=False)
        server.run(host=HOST, port=port, generate_client_file=False, log_level="warning")


if PEER == "ray":
    import ray
    from ray import serve as ray_serve
    from starlette.requests import Request

    @ray_serve.deployment(num_replicas=1, max_ongoing_requests=10_000)
    class RayPeer:
        """`@serve.batch`; the batch runs in a thread, so that the next one can gather."""

        def __init__(self) -> None:
            self.model = Model()

        @ray_serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WAIT_SECONDS)
        async def batch(self, orders: list[dict[str, Any]]) -> list[int]:
            """A batch."""
            return await asyncio.to_thread(self.model.draw, orders)

        async def __call__(self, request: Request) -> dict[str, int]:
            """One order."""
            return {"size": await self.batch(await request.json())}

    def serve(port: int) -> None:
        """One replica, on a cluster of this machine alone."""
        stopping = threading.Event()
        ray.init(num_cpus=2, include_dashboard=False, _node_ip_address=HOST, log_to_driver=False)
        ray_serve.start(http_options={"host": HOST, "port": port})
        ray_serve.run(RayPeer.bind(), route_prefix="/predict")
        signal.signal(signal.SIGTERM, lambda *_: stopping.set())
        stopping.wait()
        ray.shutdown()


if PEER == "bentoml":
    import bentoml

    @bentoml.service(workers=1, traffic={"timeout": 3600, "max_concurrency": 10_000})
    class BentoPeer:
        """Adaptive batching, which must refuse nothing: its limit on latency is far away."""

        def __init__(self) -> None:
            self.model = Model()

        @bentoml.api(route="/predict", batchable=True, max_batch_size=BATCH, max_latency_ms=3_600_000)
        def predict(self, orders: list[dict[str, Any]]) -> list[int]:
            """A batch."""
            return self.model.draw(orders)

    def serve(port: int) -> None:
        """Its own command, which takes the place of this process."""
        command = ["serve", "bench.peer_servers:BentoPeer", "--host", HOST, "--port", str(port)]
        os.execv(sys.executable, [sys.executable, "-m", "bentoml", *command])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    serve(int(sys.argv[1]))

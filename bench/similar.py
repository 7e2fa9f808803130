"""The search for similar images among a tenant's 100,000: the first search, later ones, and one after a new image.

    python -m bench.similar [--images N] [--postgresql]

Rows of jobs, images and random vectors are made in the database; the requests go through the whole web application.
`filtered` searches within one bulk, of a hundred. Memory is what the process grows by with the first search.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Final

import click
import numpy as np
import psutil
from flask.testing import FlaskClient
from sqlalchemy import update

from bench.common import conclude, postgres
from bench.statements import TENANT, fill
from limner_shared.db import ledger, schema
from limner_shared.db.engine import Database
from limner_shared.db.library_tables import ImageEmbedding
from limner_shared.db.tables import Job
from limner_shared.domain.embeddings import DIMENSIONS, VECTOR_TYPE
from limner_shared.domain.image_views import SimilarImages
from limner_shared.domain.jobs import JobSpec
from limner_shared.settings import Settings
from limner_web.app import create_app
from limner_web.pictures import vector_cache

GOAL_MS: Final = 30.0
SEARCHES: Final = 50
SHOWN: Final = 20
SPEC: Final = JobSpec(model="limner-flow", prompt="a cat", seed=1, width=256, height=256, steps=8, guidance=3.0, n=1)
NUMBERED: Final = "img_{:026d}"


def make_images(database: Database, count: int) -> list[str]:
    """Make the tenant's images with random vectors; returns their ids."""
    jobs = -(-count * 100 // 94)
    with database.write() as session:
        ledger.ensure_tenant(session, TENANT, "local")
    fill(database, SPEC, jobs)
    numbers = [number for number in range(jobs) if number % 100 < 94]
    random = np.random.default_rng(0)
    vectors = random.standard_normal((len(numbers), DIMENSIONS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    stored = [vector.tobytes() for vector in vectors.astype(VECTOR_TYPE)]
    with database.write() as session:
        session.execute(update(Job).values(tenant_id=TENANT), execution_options={"synchronize_session": False})
        rows = [
            {"image_id": NUMBERED.format(number), "tenant_id": TENANT, "vector": vector}
            for number, vector in zip(numbers, stored, strict=True)
        ]
        session.execute(update(ImageEmbedding), rows)
    return [row["image_id"] for row in rows]


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """How long a call takes, and how much processor time of this process, in ms."""
    begun, used = time.perf_counter(), time.process_time()
    call()
    return (time.perf_counter() - begun) * 1000, (time.process_time() - used) * 1000


def measure(client: FlaskClient, ids: list[str]) -> dict[str, float]:
    """Search; returns medians of times in ms, and MB."""
    random, process = np.random.default_rng(1), psutil.Process()

    def search(more: str = "") -> None:
        answer = client.get(f"/api/v1/images?similar_to={ids[random.integers(len(ids))]}&limit={SHOWN}{more}")
        if not more and len(SimilarImages.model_validate_json(answer.data).items) != SHOWN:
            raise SystemExit(f"the search failed: {answer.text}")

    client.get("/api/v1/models")
    before = process.memory_info().rss
    figures = _figures("first", [timed(search)])
    figures["grown_mb"] = round((process.memory_info().rss - before) / 1e6, 1)
    figures |= _figures("next", [timed(search) for _ in range(SEARCHES)])
    figures |= _figures("filtered", [timed(lambda: search("&bulk=bulk_0001")) for _ in range(SEARCHES)])
    vector_cache.REFRESH_SECONDS = 0.0  # each search looks for new images
    return figures | _figures("refreshed", [timed(search) for _ in range(SEARCHES)])


def _figures(name: str, times: list[tuple[float, float]]) -> dict[str, float]:
    return {
        f"{name}_ms": round(median(wall for wall, _ in times), 1),
        f"{name}_cpu_ms": round(median(used for _, used in times), 1),
    }


@click.command()
@click.option("--images", default=100_000, help="Images of the tenant.")
@click.option("--postgresql", is_flag=True, help="Use PostgreSQL instead of SQLite.")
def main(*, images: int, postgresql: bool) -> None:
    """Measure, and print the figures."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(postgres()) if postgresql else f"sqlite:///{folder / 'limner.db'}"
        schema.upgrade(url)
        database = Database(url)
        stack.callback(database.dispose)
        ids = make_images(database, images)
        app = create_app(Settings(data_dir=folder, database_url=url))
        figures = measure(app.test_client(), ids) | {"images": len(ids)}
        app.extensions["limner"].database.dispose()
    conclude("similar", figures, f"at most {GOAL_MS:.0f} ms of processor time", met=figures["next_cpu_ms"] <= GOAL_MS)


if __name__ == "__main__":
    main()

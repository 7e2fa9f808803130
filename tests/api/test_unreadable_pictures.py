"""A picture that the store never returns again, such as one that a bucket has archived, among others that it does."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from limner_client.cli.bulk_images import download_images
from limner_client.client import Client
from limner_shared.db.batch_tables import Batch
from limner_shared.db.tables import Image, Job
from limner_shared.errors import SigningFailed
from limner_shared.storage.blobs import Blobs
from limner_shared.storage_failures import StorageReason, failure
from limner_web.openai import batch_loader, batch_output
from limner_web.openai.batch_loader import BatchLoader
from tests.api.batches import batch, change, create, loader, request_line
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import lines, post
from tests.api.test_openai_batches import job_ids, output

__all__ = ["loader"]

COLOURS = ("red", "blue", "green")


@pytest.fixture
def deny(app: App, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the store refuse every read of a job's picture from now on."""
    read = Blobs.get

    def deny(job_id: str) -> None:
        with app.extensions["limner"].database.read() as session:
            denied = session.scalars(select(Image.sha256).where(Image.job_id == job_id)).one()

        def get(self: Blobs, digest: str) -> bytes:
            if digest == denied:
                raise failure(StorageReason.DENIED)
            return read(self, digest)

        monkeypatch.setattr(Blobs, "get", get)

    return deny


def draw_all(app: App) -> list[str]:
    ids = job_ids(app)
    for colour, job_id in zip(COLOURS, ids, strict=True):
        finish(app, start(app, job_id), png(colour))
    return ids


def test_a_picture_that_cannot_be_read_is_an_error_of_its_line_in_the_batch(
    client: ApiClient, app: App, loader: BatchLoader, deny: Callable[[str], None]
):
    made = create(client, *(request_line(name, output_format="webp") for name in "abc"))
    loader.load_next()
    deny(draw_all(app)[1])
    loader.finish_next()
    found = batch(client, made)
    assert found["status"] == "completed"
    errors = {line["custom_id"]: line["error"] for line in output(client, found["output_file_id"])}
    assert errors["b"].pop("message")
    assert errors == {"a": None, "b": {"code": "object_unreadable"}, "c": None}


def test_a_picture_that_cannot_be_read_is_named_as_missing_in_the_zip(
    client: ApiClient, app: App, deny: Callable[[str], None]
):
    bulk = post(client, lines(*[{"prompt": "x"}] * 3)).json
    deny(draw_all(app)[1])
    answer = client.get(f"{bulk['links']['results']}?format=zip")
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.read("missing.txt") == b"0000002.png\n"
        assert set(archive.namelist()) == {
            "bulk.json",
            "0000001.png",
            "0000003.png",
            "missing.txt",
            "results.jsonl",
        }


def test_limner_bulk_downloads_all_other_pictures(
    client: ApiClient, app: App, deny: Callable[[str], None], tmp_path: Path
):
    bulk = post(client, lines(*[{"prompt": "x"}] * 3)).json
    deny(draw_all(app)[0])
    (folder := tmp_path / "images").mkdir()
    with Client("http://localhost", transport=httpx.WSGITransport(app=app)) as api:
        lost = download_images(api, bulk["id"], folder, set(), final=True)
    assert len(lost) == 1
    assert sorted(file.name for file in folder.iterdir()) == ["000002.png", "000003.png", "results.jsonl"]


@pytest.mark.parametrize(
    ("closed_before", "status"), [(60.0, "finalizing"), (batch_loader.GIVE_UP_SECONDS + 60, "failed")]
)
def test_a_batch_whose_output_cannot_be_made_waits_for_a_day_and_keeps_its_pictures(
    client: ApiClient,
    app: App,
    loader: BatchLoader,
    monkeypatch: pytest.MonkeyPatch,
    closed_before: float,
    status: str,
):
    def fails(*_arguments: object) -> None:
        raise SigningFailed

    made = create(client, *(request_line(name) for name in "abc"))
    loader.load_next()
    draw_all(app)
    loader._close_due()
    database = app.extensions["limner"].database
    with database.read() as session:
        closed_at = session.scalars(select(Batch.finalizing_at)).one()
    assert closed_at is not None
    change(app, made, finalizing_at=closed_at - closed_before)
    monkeypatch.setattr(batch_output, "measure", fails)
    assert loader.finish_next()
    found = batch(client, made)
    assert (found["status"], found["request_counts"]["completed"]) == (status, 3)
    assert not loader.finish_next()  # it waits, or has ended
    with database.read() as session:
        assert len(session.scalars(select(Image.id)).all()) == len(session.scalars(select(Job.id)).all()) == 3

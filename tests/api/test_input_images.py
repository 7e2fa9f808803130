"""Image-to-image and inpainting: which input images are accepted, and how they are stored."""

from __future__ import annotations

import base64
import io
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageOps
from sqlalchemy import select

from limner_shared.db.engine import Database
from limner_shared.db.ledger import Claim
from limner_shared.db.tables import Bulk, Job, Tenant
from limner_shared.domain.jobs import JobRequest, Lane
from limner_shared.errors import StorageFailed
from limner_shared.storage.blobs import INPUTS
from limner_web.pictures.input_images import fit
from limner_worker.engine.job_run import JobRun
from limner_worker.stages.input_images import load_inputs
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import lines, post, rows
from tests.api.test_keys import make_key

CARD = """
name = "painter"
title = "Painter"
family = "null"
source = { folder = "." }
sizes = [[64, 32]]
tasks = ["text-to-image", "image-to-image", "inpainting"]
steps = { min = 1, max = 50, default = 3 }
guidance = { min = 0.0, max = 20.0, default = 7.5 }
"""


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Any]:
    """The settings of a model that starts from images."""
    card = tmp_path / "painter.toml"
    card.write_text(CARD)
    return {"models": (card,), "default_model": "painter"}


@pytest.fixture
def app(make_app: Callable[..., App], models: dict[str, Any]):
    return make_app(**models)


def data_url(picture: Image.Image, kind: str = "png", **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def submit(client: ApiClient, **request: Any):
    return client.post("/api/v1/jobs", json={"prompt": "a boat"} | request)


def pixel(picture: Image.Image, x: int, y: int) -> tuple[int, ...]:
    """The channels of one pixel."""
    found = picture.getpixel((x, y))
    assert isinstance(found, tuple)
    return found


def stored(app: App, answer: Any, field: str = "image") -> Image.Image:
    assert answer.status_code == 202, answer.json
    return Image.open(io.BytesIO(app.extensions["limner"].blobs.get_input(answer.json[field])))


def test_a_control_picture_is_stored_and_shown_with_its_use(make_app: Callable[..., App], models: dict[str, Any]):
    with models["models"][0].open("a") as card:
        card.write("[control]\nscale = { min = 0.0, max = 2.0, default = 1.0 }\n")
    app = make_app(**models)
    client = app.test_client()
    [model] = [each for each in client.get("/api/v1/models").json["items"] if each["name"] == "painter"]
    assert model["control"] == {"scale": {"min": 0, "max": 2, "default": 1}, "interval": True}
    lines = data_url(Image.new("RGB", (64, 32), "blue"))
    job = submit(client, image=data_url(Image.new("RGB", (64, 32), "red")), control_image=lines, control_end=0.5).json
    assert (job["control_scale"], job["control_start"], job["control_end"]) == (1, 0, 0.5)
    claim = start(app, job["id"])
    run = JobRun(claim, lambda: None)
    load_inputs(app.extensions["limner"].blobs, run)
    task = run.rows[0].task
    assert task.image is not None
    assert task.control_image is not None
    assert (task.image[0, 0].tolist(), task.control_image[0, 0].tolist()) == ([255, 0, 0], [0, 0, 255])
    refused = submit(client)
    assert (refused.status_code, refused.json["field"]) == (422, "control_image")
    assert "painter without a control picture" in refused.json["detail"]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_an_image_from_a_data_url_is_resized_and_stored(app: App, client: ApiClient, kind: str):
    picture = stored(app, submit(client, image=data_url(Image.new("RGB", (100, 100), "red"), kind)))
    assert (picture.size, picture.format, picture.mode) == ((64, 32), "PNG", "RGB")
    assert all(abs(a - b) < 5 for a, b in zip(pixel(picture, 30, 16), (254, 0, 0), strict=True))


def test_a_tenant_can_start_from_its_own_picture_by_id(app: App, client: ApiClient):
    first = submit(client).json["id"]
    finish(app, start(app, first), png("green"))
    image = client.get(f"/api/v1/jobs/{first}").json["images"][0]["id"]
    assert stored(app, submit(client, image=image, strength=0.5)).getpixel((0, 0)) == (0, 128, 0)


def test_transparency_becomes_white_and_the_exif_orientation_is_applied(app: App, client: ApiClient):
    clear = Image.new("RGBA", (64, 32), (0, 0, 0, 0))
    assert stored(app, submit(client, image=data_url(clear))).getpixel((5, 5)) == (255, 255, 255)
    wide = Image.new("RGB", (32, 64), "black")
    wide.paste("white", (0, 32, 32, 64))
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate by 90 degrees
    turned = stored(app, submit(client, image=data_url(wide, "jpeg", exif=exif)))
    left, right = (pixel(turned, x, 16)[0] for x in (5, 60))
    assert left > 200
    assert right < 50


def test_a_job_shows_the_digests_of_its_input_images(client: ApiClient):
    url = data_url(Image.new("RGB", (64, 32), "blue"))
    job = submit(client, image=url, mask=url, strength=0.7).json
    assert len(job["image"]) == len(job["mask"]) == 64
    assert job["strength"] == 0.7


def test_the_worker_loads_the_input_images_into_the_job_rows(app: App, client: ApiClient):
    services = app.extensions["limner"]
    request: dict[str, Any] = {
        "image": data_url(Image.new("RGB", (64, 32), "blue")),
        "mask": data_url(Image.new("L", (64, 32), 255)),
    }
    spec = services.catalogue.resolve(JobRequest(prompt="a boat", n=2, **request))[1]
    spec = services.inputs.store("local", spec)
    job = JobRun(Claim("job", "local", None, 1, 2, Lane.NORMAL, spec), lambda: None)
    load_inputs(services.blobs, job)
    assert [row.task.image.shape for row in job.rows] == [(32, 64, 3)] * 2
    assert cast("Any", job.rows[0].task.image)[0, 0].tolist() == [0, 0, 255]
    assert job.rows[1].task.mask.min() == 255


BAD = {
    "not base64": ("data:image/png;base64,%%%", "base64"),
    "no picture": ("data:image/png;base64," + base64.b64encode(b"hello").decode(), "not an image"),
    "an address": ("http://example.org/boat.png", "the id of an image"),
    "an unknown id": ("img_01arz3ndektsv4rrffq69g5fav", "no image img_"),
    "cut off": (data_url(Image.effect_noise((64, 64), 50))[: 22 + 4 * 700], "damaged"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("field", ["image", "mask"])
def test_an_invalid_input_image_is_refused_with_the_field_and_the_reason(client: ApiClient, what: Any, field: str):
    value, reason = BAD[what]
    good = data_url(Image.new("RGB", (64, 32)))
    answer = submit(client, **({"image": good, "mask": good} | {field: value}))
    assert answer.status_code == 422
    assert answer.json["detail"].startswith(f"{field}: ")
    assert reason in answer.json["detail"]
    assert client.get("/api/v1/jobs").json["items"] == []


@pytest.mark.parametrize(
    ("kind", "side", "sent"), [("PNG", 4097, 1000), ("PNG", 12_000, 1000), ("JPEG", 5001, 1000), ("WEBP", 3548, None)]
)
def test_an_image_with_too_many_pixels_is_refused_before_decoding(
    client: ApiClient, kind: str, side: int, sent: int | None
):
    """Of some only the first bytes are sent: to decode them would show that they are damaged."""
    buffer = io.BytesIO()
    Image.new("L", (side, side)).save(buffer, kind)
    encoded = base64.b64encode(buffer.getvalue()[:sent]).decode()
    answer = submit(client, image=f"data:image/{kind.lower()};base64,{encoded}")
    assert answer.status_code == 422
    assert "megapixels" in answer.json["detail"]


def test_a_tenant_with_its_share_of_images_to_read_is_refused_and_others_are_not(
    make_app: Callable[..., App], models: dict[str, Any], database: Database
):
    app = make_app(require_keys=True, tenant_share=0.01, **models)
    client, mine, other = app.test_client(), make_key(database, "mine"), make_key(database, "other")
    with database.read() as session:
        tenant_id = session.scalar(select(Tenant.id).where(Tenant.name == "mine"))
    url = data_url(Image.new("RGB", (64, 32)))
    calls: dict[str, dict[str, Any]] = {
        "/api/v1/jobs": {"prompt": "a boat", "image": url},
        "/v1/images/edits": {"prompt": "a boat", "image": url},
        "/v1/moderations": {"input": [{"type": "image_url", "image_url": {"url": url}}]},
        "/sdapi/v1/png-info": {"image": url},
    }

    def send(headers: dict[str, str], path: str) -> int:
        return client.post(path, json=calls[path], headers=headers).status_code

    pillow = app.extensions["limner"].pillow
    for path in calls:
        assert pillow.call_for(tenant_id, send, mine, path) == 503, path
    assert pillow.call_for(tenant_id, send, other, "/sdapi/v1/png-info") == 200
    assert pillow.call_for(tenant_id, send, other, "/api/v1/jobs") == 202
    assert send(mine, "/api/v1/jobs") == 202


def test_an_image_with_too_many_bytes_is_refused(client: ApiClient):
    junk = base64.b64encode(bytes(10_000_001)).decode()
    answer = submit(client, image=f"data:image/png;base64,{junk}")
    assert (answer.status_code, "10 MB" in answer.json["detail"]) == (422, True)


def test_mask_and_strength_require_an_image(client: ApiClient):
    for field, value in (("mask", data_url(Image.new("L", (64, 32)))), ("strength", 0.5)):
        answer = submit(client, **{field: value})
        assert answer.status_code == 422
        assert "image" in answer.json["detail"]


def test_a_model_without_the_task_refuses_an_image(make_app: Callable[..., App]):
    client = make_app().test_client()
    answer = submit(client, image=data_url(Image.new("RGB", (64, 32))))
    assert answer.status_code == 422
    assert "text-to-image" in answer.json["detail"]


@pytest.mark.parametrize("on_error", ["refuse", "skip"])
def test_a_bulk_whose_images_cannot_be_stored_now_is_answered_with_that_error(
    app: App, client: ApiClient, monkeypatch: pytest.MonkeyPatch, on_error: str
):
    def fail(_data: bytes) -> str:
        raise StorageFailed

    monkeypatch.setattr(app.extensions["limner"].blobs, "put_input", fail)
    picture = data_url(Image.new("RGB", (8, 8), "red"))
    body = "\n".join(json.dumps({"prompt": "x"} | image) for image in ({}, {"image": picture}))
    path = f"/api/v1/bulks?on_error={on_error}"
    answer = client.post(path, data=body, content_type="application/x-ndjson")
    assert (answer.status_code, answer.json["code"]) == (503, "storage_failed")
    assert (rows(app, Job), rows(app, Bulk)) == (0, 0)


def test_after_a_bad_line_a_bulk_stores_no_pictures_of_jobs_that_it_does_not_queue(app: App, client: ApiClient):
    good = [{"prompt": "x", "image": data_url(Image.new("RGB", (64, 32), (shade, 0, 0)))} for shade in range(9)]
    refused = post(client, lines({"prompt": ""}, *good))
    assert (refused.status_code, refused.json["bad_lines"]) == (422, 1)
    assert list((app.extensions["limner"].blobs.folder / INPUTS).glob("*")) == []


def test_a_bulk_with_an_invalid_image_is_refused_with_the_line(client: ApiClient):
    good = json.dumps({"prompt": "a boat", "image": data_url(Image.new("RGB", (64, 32), "red"))})
    bad = json.dumps({"prompt": "a boat", "image": "img_01arz3ndektsv4rrffq69g5fav"})
    headers = {"Content-Type": "application/x-ndjson"}
    answer = client.post("/api/v1/bulks", data=f"{good}\n{bad}\n", headers=headers)
    assert answer.status_code == 422
    assert [(error["line"], error["field"]) for error in answer.json["errors"]] == [(2, "image")]
    assert client.post("/api/v1/bulks", data=f"{good}\n", headers=headers).status_code == 202


MEASURE = """
import resource, sys
from limner_web.pictures.input_images import fit
data = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
fit(data, sys.argv[2], (64, 32))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("field", ["image", "mask"])
@pytest.mark.parametrize(
    ("kind", "mode", "side"), [("PNG", "RGBA", 4096), ("JPEG", "RGB", 5000), ("WEBP", "RGBA", 3547)]
)
def test_the_largest_images_are_resized_in_bounded_memory(tmp_path: Path, kind: str, mode: str, side: int, field: str):
    file = tmp_path / "large"
    Image.new(mode, (side, side), "red").save(file, kind, **({"progressive": True} if kind == "JPEG" else {}))
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE, str(file), field], capture_output=True, text=True, check=True
    )
    assert int(measured.stdout) < 230, "megabytes"


@pytest.mark.parametrize("field", ["image", "mask", "control_image"])
@pytest.mark.parametrize("size", [(256, 128), (4096, 2048)])
def test_a_grey_picture_of_16_bits_keeps_its_values(field: str, size: tuple[int, int]):
    ramp = np.linspace(0, 65535, size[0]).astype(np.uint16)
    grey = Image.fromarray(np.tile(ramp, (size[1], 1)))
    assert grey.mode == "I;16"
    values = np.asarray(Image.open(io.BytesIO(fit(encoded(grey), field, (64, 32)))))
    assert abs(values.mean() - 127.5) < 2
    assert values[:, 0].max() < 4
    assert values[:, -1].min() > 251


@pytest.mark.parametrize("size", [(64, 32), (1024, 512)])
def test_a_picture_in_a_phones_colours_is_stored_in_those_of_models(size: tuple[int, int]):
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 100, 100)).save(buffer, "PNG", icc_profile=display_p3())
    red, green, blue = pixel(Image.open(io.BytesIO(fit(buffer.getvalue(), "image", (64, 32)))), 5, 5)
    assert 210 <= red <= 222
    assert max(green, blue) <= 100
    damaged = io.BytesIO()
    Image.new("RGB", size, (200, 100, 100)).save(damaged, "PNG", icc_profile=b"no profile")
    assert pixel(Image.open(io.BytesIO(fit(damaged.getvalue(), "image", (64, 32)))), 5, 5) == (200, 100, 100)


def display_p3() -> bytes:
    """A profile with the primaries of Display P3 for D50, and a gamma of 2.2 (ICC.1:2001-04)."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(2.2 * 256))
    tags = {
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.51512, 0.24120, -0.00105),
        b"gXYZ": xyz(0.29198, 0.69225, 0.04189),
        b"bXYZ": xyz(0.15710, 0.06657, 0.78407),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    place, table = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags))
    for name, data in tags.items():
        table += name + struct.pack(">II", place, len(data))
        place += len(data)
    head = struct.pack(">I4sI4s4s4s", place, b"\0" * 4, 0x02400000, b"mntr", b"RGB ", b"XYZ ") + bytes(12)
    head += b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + b"".join(tags.values())


@pytest.mark.parametrize("size", [(3000, 1500), (1500, 3000), (2999, 1501)])
def test_shrinking_a_large_image_before_resizing_does_not_change_the_result(size: Any):
    small = Image.linear_gradient("L").resize((64, 32)).convert("RGB")
    stored = Image.open(io.BytesIO(fit(encoded(small.resize(size)), "image", (64, 32))))
    plain = ImageOps.fit(small.resize(size), (64, 32), Image.Resampling.LANCZOS)
    low, high = zip(*ImageChops.difference(stored, plain).getextrema(), strict=True)
    assert max(low + high) <= 3


def encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()

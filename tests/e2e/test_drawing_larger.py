"""Pictures that are drawn again in a larger size, in a real browser."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from limner_client.client import Client
from limner_shared.domain.views import ImageView, JobView
from tests.e2e.bulks import SMALL
from tests.processes import eventually

pytestmark = pytest.mark.long

OpenPage = Callable[..., Page]


def drawn(client: Client, prompt: str, **fields: Any) -> JobView:
    """A job that has succeeded."""
    *_, job = client.wait(client.submit({"prompt": prompt} | fields).id)
    assert job.status == "succeeded"
    return job


def next_of(client: Client, job: JobView) -> JobView:
    """The job that was submitted after this one, once it has succeeded."""
    eventually(lambda: client.jobs().items[0].id != job.id and client.jobs().items[0].status == "succeeded", 60)
    return client.jobs().items[0]


def entry(page: Page, tile: Locator) -> Locator:
    """The entry of a tile's menu, once that is open."""
    tile.get_by_role("button", name="More actions").click()
    expect(page.get_by_role("menuitem", name="Share a link")).to_be_visible()
    return page.get_by_role("menuitem", name="Draw larger")


def small_pixels(client: Client, image: ImageView) -> Any:
    """A picture's values in 64×64."""
    with Image.open(io.BytesIO(client.download(image))) as picture:
        return np.asarray(picture.convert("RGB").resize((64, 64), Image.Resampling.BOX), np.float32)


def test_a_model_that_enlarges_by_itself_draws_the_same_picture_larger(service: int, open_page: OpenPage):
    with Client(f"http://127.0.0.1:{service}") as client:
        small = drawn(client, "penguin", seed=7, **SMALL)
        page = open_page()
        entry(page, page.locator(f"#{small.id}")).click()
        expect(page.get_by_text("Drawing the same picture in the larger size.")).to_be_visible()
        large = next_of(client, small)
        other = drawn(client, "penguin", seed=8, **SMALL)
        pixels, *others = (small_pixels(client, job.images[0]) for job in (small, large, other))
    assert (large.width, large.height, large.seed) == (256, 256, 7)
    near, far = (abs(pixels - each).mean() for each in others)
    assert near < far / 2
    tile = page.locator(f"#{large.id}")
    expect(tile).to_have_attribute("data-state", "succeeded")
    expect(entry(page, tile)).to_have_count(0)  # the model has no larger size


def test_a_model_that_starts_from_pictures_draws_again_from_the_smaller_one(service: int, open_page: OpenPage):
    with Client(f"http://127.0.0.1:{service}") as client:
        small, large = (drawn(client, "a boat", model="null", size=size) for size in ("8x8", "16x16"))
        page = open_page()
        expect(entry(page, page.locator(f"#{large.id}"))).to_have_count(0)
        page.keyboard.press("Escape")
        page.locator(f"#{small.id} .mosaic button").click()
        entry(page, page.get_by_role("dialog", name="Picture viewer")).click()
        expect(page.get_by_text("Drawing again from this picture, larger")).to_be_visible()
        again = next_of(client, large)
    assert (again.width, again.height, again.strength) == (16, 16, 0.35)
    assert again.metadata == {"started_from": small.images[0].id}

"""Pictures that are deleted or marked elsewhere while the gallery shows them, and archives of what is left."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from limner_client.client import Client
from tests.e2e.bulks import SMALL
from tests.processes import eventually

pytestmark = pytest.mark.long

OpenPage = Callable[..., Page]


def drawn(service: int, prompt: str, n: int = 3) -> Any:
    """A finished job."""
    with Client(f"http://127.0.0.1:{service}") as client:
        job = client.submit(SMALL | {"prompt": prompt, "n": n})
        eventually(lambda: client.job(job.id).status == "succeeded", 120)
        return client.job(job.id)


def delete(service: int, target: str) -> None:
    with Client(f"http://127.0.0.1:{service}") as client:
        client.delete(target)


def test_a_picture_that_is_deleted_elsewhere_goes_from_the_gallery_and_the_viewer(service: int, open_page: OpenPage):
    job = drawn(service, "a shrinking violet")
    page = open_page("/gallery?model=limner-gan")
    cells = page.locator(".cell").filter(has_text="a shrinking violet")
    expect(cells).to_have_count(3)
    cells.nth(0).get_by_role("button").click()
    viewer = page.get_by_role("dialog", name="Picture viewer")
    shown = viewer.locator(".one img")
    expect(shown).to_have_attribute("src", job.images[0].url)
    delete(service, job.images[0].id)
    expect(cells).to_have_count(2)
    expect(shown).to_have_attribute("src", job.images[1].url)
    delete(service, job.id)
    expect(cells).to_have_count(0)
    for key in ("i", "c", "ArrowRight", "Escape"):  # an error of a script fails the test
        page.keyboard.press(key)
    expect(viewer).to_be_hidden()


def test_a_picture_that_no_longer_fits_the_filter_goes(service: int, open_page: OpenPage):
    job = drawn(service, "a fading rose", 2)
    with Client(f"http://127.0.0.1:{service}") as client:
        for image in job.images:
            client.mark_favourite(image.id)
        page = open_page("/gallery?favourite=true")
        cells = page.locator(".cell").filter(has_text="a fading rose")
        expect(cells).to_have_count(2)
        client.mark_favourite(job.images[0].id, favourite=False)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(cells).to_have_count(1)


def test_only_the_pictures_whose_deletion_failed_come_back(service: int, open_page: OpenPage):
    job = drawn(service, "a stubborn weed")
    page = open_page("/gallery?model=limner-gan", clock=True)
    cells = page.locator(".cell").filter(has_text="a stubborn weed")
    expect(cells).to_have_count(3)

    def refuse(route: Route) -> None:
        if route.request.method == "DELETE":
            route.fulfill(status=503, json={})
        else:
            route.continue_()

    page.route(f"**/images/{job.images[1].id}", refuse)
    for index in range(3):
        cells.nth(index).locator("input").check(force=True)
    page.get_by_role("button", name="Delete").click()
    expect(cells).to_have_count(0)
    page.clock.run_for(15_000)
    expect(cells).to_have_count(1)
    left = httpx.get(f"http://127.0.0.1:{service}/api/v1/jobs/{job.id}").json()["images"]
    assert [image["id"] for image in left] == [job.images[1].id]


def test_an_archive_has_what_is_left_and_names_what_is_missing(service: int, open_page: OpenPage):
    job = drawn(service, "a thinning hedge")
    page = open_page("/gallery?model=limner-gan")
    cells = page.locator(".cell").filter(has_text="a thinning hedge")
    expect(cells).to_have_count(3)
    for index in range(3):
        cells.nth(index).locator("input").check(force=True)
    gone = re.compile(f"{job.images[1].id}.*format=png")
    page.route(gone, lambda route: route.fulfill(status=404, json={}))
    with page.expect_download() as download:
        page.get_by_role("button", name="ZIP").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        names = archive.namelist()
        assert len([name for name in names if name.endswith(".png")]) == 2
        assert str(job.images[1].seed) in archive.read("missing.txt").decode()
    expect(page.get_by_text("1 picture is missing")).to_be_visible()

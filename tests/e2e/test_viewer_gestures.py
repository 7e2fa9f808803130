"""The viewer's picture under fingers and the mouse, full screen, and the replay of a receipt, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from limner_client.client import Client
from tests.e2e.bulks import SMALL, draw_bulk
from tests.e2e.states import PHONE
from tests.processes import eventually

OpenPage = Callable[..., Page]
Point = tuple[float, float]
PLACE = """(image) => {
    const {a: scale, e: x, f: y} = new DOMMatrix(getComputedStyle(image).transform);
    return [scale, x, y].map(Math.round);
}"""
"""The zoom of a picture, and how far its middle is from that of its frame."""


def open_viewer(service: int, open_page: OpenPage, name: str, **options: Any) -> tuple[Page, Locator]:
    bulk = draw_bulk(service, {"prompt": f"{name} one"}, {"prompt": f"{name} two"})
    page = open_page(f"/gallery?bulk={bulk}", **options)
    page.get_by_role("button", name=f"Enlarge: {name} two").click()
    viewer = page.get_by_role("dialog", name="Picture viewer")
    expect(viewer.locator(".place")).to_have_text("1 of 2")
    viewer.locator(".one img").evaluate("each => each.decode()")  # before, it has no height
    return page, viewer


def touch(page: Page) -> Callable[..., None]:
    """A function that puts fingers on the screen, moves them or, without any, lifts all."""
    devtools: Any = page.context.new_cdp_session(page)  # whose types are partly unknown

    def send(kind: str, *fingers: Point) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(fingers)]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    return send


def test_two_fingers_enlarge_a_picture_and_one_moves_it(service: int, open_page: OpenPage) -> None:
    page, viewer = open_viewer(service, open_page, "a pinched pear", **PHONE)
    image, fingers = viewer.locator(".one img"), touch(page)
    box = image.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    fingers("touchStart", (x - 40, y), (x + 40, y))
    fingers("touchMove", (x - 80, y), (x + 80, y))
    fingers("touchMove", (x - 120, y), (x + 120, y))
    fingers("touchEnd")
    assert image.evaluate(PLACE) == [3, 0, 0]
    fingers("touchStart", (x, y))
    fingers("touchMove", (x - 60, y + 30))
    fingers("touchEnd")
    assert image.evaluate(PLACE) == [3, -60, 30]
    expect(viewer.locator(".place")).to_have_text("1 of 2")  # no swipe while the picture is enlarged
    fingers("touchStart", (x - 120, y), (x + 120, y))
    fingers("touchMove", (x - 20, y), (x + 20, y))
    fingers("touchEnd")
    assert image.evaluate(PLACE) == [1, 0, 0]


def test_an_enlarged_picture_is_dragged_no_further_than_to_its_edge(service: int, open_page: OpenPage) -> None:
    page, viewer = open_viewer(service, open_page, "a dragged date")
    image = viewer.locator(".one img")
    viewer.get_by_role("button", name="Zoom in").click()
    page.mouse.move(300, 250)
    page.mouse.down()
    page.mouse.move(340, 230, steps=2)
    assert image.evaluate(PLACE)[1:] == [40, -20]
    page.mouse.move(1200, 230, steps=4)
    page.mouse.up()
    width = image.evaluate("image => image.closest('figure').clientWidth")
    assert image.evaluate(PLACE)[1] == round(width * 0.3)  # of 1.6 times its width, a half on each side


def test_the_viewer_fills_the_screen_and_gives_it_back_when_it_is_closed(service: int, open_page: OpenPage) -> None:
    page, viewer = open_viewer(service, open_page, "a full fig")
    full = viewer.get_by_role("button", name="Full screen")
    full.click()
    eventually(lambda: page.evaluate("document.fullscreenElement !== null"))
    assert page.evaluate("document.elementFromPoint(innerWidth / 2, innerHeight / 2).closest('dialog') !== null")
    page.keyboard.press("f")
    eventually(lambda: page.evaluate("document.fullscreenElement === null"))
    expect(viewer).to_be_visible()
    full.click()
    eventually(lambda: page.evaluate("document.fullscreenElement !== null"))
    viewer.get_by_role("button", name="Close").click()
    eventually(lambda: page.evaluate("document.fullscreenElement === null"))


@pytest.mark.long
def test_the_receipt_draws_the_same_bytes_again(service: int, open_page: OpenPage) -> None:
    with Client(f"http://127.0.0.1:{service}") as client:
        *_, job = client.wait(client.submit(SMALL | {"prompt": "a replayed plum"}).id)
        page = open_page("/gallery?q=replayed")
        page.get_by_role("button", name="Enlarge: a replayed plum").click()
        page.keyboard.press("i")
        with page.expect_response("**/replay") as made:
            page.get_by_role("button", name="Draw it again, byte for byte").click()
        expect(page.get_by_text("Drawing the same picture again, byte for byte.")).to_be_visible()
        *_, again = client.wait(made.value.json()["id"])
    assert [image.sha256 for image in again.images] == [image.sha256 for image in job.images]
    assert again.id != job.id

"""The picture viewer in a real browser: swipes on a phone, and the next page of the gallery."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from limner_client.client import Client
from tests.e2e.bulks import SMALL, draw_bulk
from tests.e2e.states import PHONE
from tests.processes import eventually


def swipe(view: Locator, start: float, end: float) -> None:
    """Draw one finger over the picture, from a place to another one in pixels."""
    for name, x in (("touchstart", start), ("touchend", end)):
        finger = {"identifier": 0, "clientX": x, "clientY": 300}
        view.dispatch_event(name, {"touches": [finger], "changedTouches": [finger], "targetTouches": [finger]})


def test_on_a_phone_a_swipe_turns_the_pictures(service: int, open_page: Callable[..., Page]):
    bulk = draw_bulk(service, *({"prompt": f"tulip {name}"} for name in ("one", "two", "three")))
    page = open_page(f"/gallery?bulk={bulk}", **PHONE)
    page.get_by_role("button", name="Enlarge: tulip three").tap()
    viewer = page.get_by_role("dialog", name="Picture viewer")
    place, view = viewer.locator(".place"), viewer.locator(".view")
    expect(place).to_have_text("1 of 3")
    swipe(view, 300, 100)
    expect(place).to_have_text("2 of 3")
    swipe(view, 300, 270)  # too short
    expect(place).to_have_text("2 of 3")
    swipe(view, 100, 300)
    expect(place).to_have_text("1 of 3")


def test_a_picture_is_drawn_again_byte_for_byte_by_its_receipt(service: int, open_page: Callable[..., Page]):
    bulk = draw_bulk(service, {"prompt": "lupin to repeat"})
    page = open_page(f"/gallery?bulk={bulk}")
    page.get_by_role("button", name="Enlarge: lupin to repeat").click()
    page.keyboard.press("i")
    with page.expect_response(re.compile("/replay$")) as made:
        page.get_by_role("button", name="Draw it again, byte for byte").click()
    with Client(f"http://127.0.0.1:{service}") as client:
        *_, again = client.wait(made.value.json()["id"])
        [first] = client.bulk_results(bulk)
    assert [image.sha256 for image in again.images] == [image.sha256 for image in first.images]


@pytest.mark.long
def test_the_viewer_turns_from_a_page_of_the_gallery_to_the_next(service: int, open_page: Callable[..., Page]):
    bulk = draw_bulk(service, *({"prompt": f"tulip {number}"} for number in range(103)))  # a page has 100 jobs
    page = open_page(f"/gallery?bulk={bulk}")
    expect(page.locator("#pictures")).to_have_attribute("data-loaded", "100")
    page.get_by_role("button", name="Enlarge: tulip 102").click()
    viewer = page.get_by_role("dialog", name="Picture viewer")
    place, onwards = viewer.locator(".place"), viewer.get_by_role("button", name="Next")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(re.compile("cursor="), hold)
    for number in range(2, 101):
        page.keyboard.press("ArrowRight")
        expect(place).to_have_text(f"{number} of 100")
    expect(onwards).to_be_disabled()
    for each in held:
        each.continue_()
    expect(onwards).to_be_enabled()
    for number in range(101, 104):
        page.keyboard.press("ArrowRight")
        expect(place).to_have_text(f"{number} of 103")
    expect(page.get_by_role("img", name="tulip").first).to_be_visible()


def test_the_viewer_of_the_studio_turns_to_older_pictures(service: int, open_page: Callable[..., Page]):
    with Client(f"http://127.0.0.1:{service}") as client:
        list(client.wait(client.submit(SMALL | {"prompt": "a fern before"}).id))
    draw_bulk(service, *({"prompt": f"fern {number}"} for number in range(49)))  # a page has 48 jobs
    page = open_page()
    expect(page.locator(".tile", has_text="a fern before")).to_be_visible()
    page.get_by_role("button", name="Show bulks too").click()
    page.get_by_role("button", name="Enlarge: fern 48").click()
    viewer = page.get_by_role("dialog", name="Picture viewer")
    expect(viewer.locator(".place")).to_have_text("1 of 48")
    for prompt in ("fern 24", "fern 1"):
        viewer.locator(".strip button").last.click()
        expect(viewer.locator("footer .prompt")).to_have_text(prompt)
    expect(viewer.get_by_role("button", name="Next")).to_be_enabled()
    page.keyboard.press("ArrowRight")
    expect(viewer.locator("footer .prompt")).to_have_text("fern 0")


def part_at(picture: Locator, x: float, y: float) -> list[float]:
    """Which part of the picture's width and height is left of and above a point of the window."""
    part: list[float] = picture.evaluate(
        """(each, [x, y]) => {
            const { left, top, width, height } = each.getBoundingClientRect();
            return [(x - left) / width, (y - top) / height];
        }""",
        [x, y],
    )
    return part


def width(picture: Locator) -> float:
    box = picture.bounding_box()
    assert box is not None
    return box["width"]


def beside_the_middle(picture: Locator) -> tuple[float, float]:
    picture.evaluate("each => each.decode()")  # before, it has no height
    box = picture.bounding_box()
    assert box is not None
    return box["x"] + 0.8 * box["width"], box["y"] + 0.3 * box["height"]


def test_a_wheel_zooms_about_the_pointer_also_while_pictures_are_compared(service: int, open_page: Callable[..., Page]):
    bulk = draw_bulk(service, {"prompt": "lupin one"}, {"prompt": "lupin two"})
    page = open_page(f"/gallery?bulk={bulk}")
    page.get_by_role("button", name="Enlarge: lupin two").click()
    viewer = page.get_by_role("dialog", name="Picture viewer")
    single, first, second = (
        viewer.locator(f"{each} img") for each in (".one", ".two figure:nth-child(1)", ".two figure:nth-child(2)")
    )
    point = beside_the_middle(single)
    before, wide = part_at(single, *point), width(single)
    page.mouse.move(*point)
    for _ in range(3):
        page.mouse.wheel(0, -100)
    eventually(lambda: width(single) > 1.7 * wide)
    assert part_at(single, *point) == pytest.approx(before, abs=0.01)
    page.mouse.dblclick(*point)
    eventually(lambda: width(single) == pytest.approx(wide))
    page.mouse.dblclick(*point)
    eventually(lambda: width(single) == pytest.approx(3 * wide))
    assert part_at(single, *point) == pytest.approx(before, abs=0.01)

    page.keyboard.press("c")
    expect(second).to_be_visible()
    point, wide = beside_the_middle(second), width(second)
    before = part_at(second, *point)
    page.mouse.move(*point)
    page.mouse.wheel(0, -100)
    page.keyboard.press("+")
    eventually(lambda: width(second) > 1.5 * wide)
    assert width(first) == pytest.approx(width(second))
    middle = first.evaluate(
        """(each) => {
            const { left, right, top } = each.parentElement.getBoundingClientRect();
            return document.elementFromPoint(right - 4, top + 40).closest("figure") === each.parentElement;
        }"""
    )
    assert middle, "one picture covers the other one"

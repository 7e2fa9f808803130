"""The picture viewer on a phone, in a real browser."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from tests.e2e.bulks import draw_bulk
from tests.e2e.states import PHONE


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

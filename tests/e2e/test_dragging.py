"""Pictures are dragged onto a board and onto the field for the picture to start from, and put there by keyboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.e2e.states import fill
from tests.processes import eventually

pytestmark = pytest.mark.long

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module", autouse=True)
def pictures(service: int) -> None:
    """Pictures to drag."""
    fill(service, prompts=("fox", "ghost", "rocket"), model="limner-gan")


@contextmanager
def dragging(page: Page, source: Locator) -> Iterator[Callable[[str, Locator], None]]:
    """A drag that has begun; the function sends one of its events to an element, which may appear only now.

    Playwright's own mouse waits without end for a drag that begins late or never. Here that fails soon.
    """
    devtools: Any = page.context.new_cdp_session(page)  # whose types are partly unknown
    begun: list[dict[str, Any]] = []

    def note(event: dict[str, Any]) -> None:
        begun.append(event["data"])

    def mouse(kind: str, x: float, y: float) -> None:
        devtools.send("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1})

    def send(kind: str, target: Locator) -> None:
        x, y = middle(target)
        devtools.send("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": begun[0]})

    devtools.on("Input.dragIntercepted", note)
    devtools.send("Input.setInterceptDrags", {"enabled": True})
    source.hover()
    x, y = middle(source)
    mouse("mousePressed", x, y)
    for step in (4, 8, 12):
        mouse("mouseMoved", x + step, y + step)
    expect(page.locator("html.dragging-pictures")).to_be_attached(timeout=10_000)
    eventually(lambda: page.title() and begun, 10)
    yield send
    devtools.detach()


def middle(element: Locator) -> tuple[float, float]:
    element.scroll_into_view_if_needed()
    box = element.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page: Page, source: Locator, target: Locator) -> None:
    with dragging(page, source) as send:
        for kind in ("dragEnter", "dragOver", "drop"):
            send(kind, target)
    expect(page.locator("html.dragging-pictures")).to_have_count(0)


def test_selected_pictures_are_dragged_onto_a_new_board_and_taken_back(open_page: OpenPage) -> None:
    page = open_page("/gallery")
    for index in (0, 2):
        page.locator(f".cell[data-index='{index}'] input").check(force=True)
    drag(page, page.locator(".cell[data-index='0'] button"), page.locator(".new-board"))
    page.get_by_role("dialog").get_by_label("Tag").fill("dragged")
    page.keyboard.press("Enter")
    board = page.locator("#boards button").filter(has_text="dragged")
    expect(board).to_contain_text("2")
    page.get_by_role("button", name="Clear the selection").click()
    drag(page, page.locator(".cell[data-index='1'] button"), board)
    expect(board).to_contain_text("3")
    page.get_by_role("button", name="Undo").last.click()
    expect(board).to_contain_text("2")


def test_a_picture_can_be_dragged_before_it_has_loaded(open_page: OpenPage) -> None:
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        waiting.append(route)

    page = open_page("/gallery")
    page.route("**/api/v1/images/*", hold)
    page.reload()
    drag(page, page.locator(".cell[data-index='0'] button"), page.locator(".new-board"))
    expect(page.get_by_role("dialog").get_by_label("Tag")).to_be_visible()
    assert waiting
    for route in waiting:
        route.abort()


def test_a_picture_is_put_on_a_board_by_keyboard(open_page: OpenPage) -> None:
    page = open_page("/gallery")
    page.locator(".cell[data-index='3'] button").focus()
    page.keyboard.press("t")
    page.get_by_role("dialog").get_by_label("Tag").fill("typed")
    page.keyboard.press("Enter")
    expect(page.locator("#boards button").filter(has_text="typed")).to_contain_text("1")


def test_a_drawn_picture_is_dragged_onto_the_form_to_start_from_it(open_page: OpenPage) -> None:
    page = open_page()
    drag(page, page.locator(".tile[data-state=succeeded] .mosaic button").first, page.locator("#ask textarea").last)
    start = page.get_by_role("img", name="The picture to start from")
    expect(start).to_be_visible()
    assert "/api/v1/images/img_" in (start.get_attribute("src") or "")

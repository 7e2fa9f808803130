"""Pictures are dragged onto a board and onto the field for the picture to start from, and put there by keyboard."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.states import fill

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def port(door: str) -> int:
    """The port of a service with pictures, of which one model takes pictures."""
    number = int(door.rpartition(":")[2])
    fill(number, prompts=("fox", "ghost", "rocket"), model="limner-gan")
    return number


def drag(page: Page, source: Locator, target: Locator) -> None:
    """As a mouse does it: the target may appear only once the drag has begun."""
    source.hover()
    page.mouse.down()
    page.mouse.move(600, 500, steps=4)
    expect(page.locator("html.dragging-pictures")).to_be_attached()
    target.hover()
    target.hover()  # the first one only enters
    page.mouse.up()
    expect(page.locator("html.dragging-pictures")).to_have_count(0)


def test_selected_pictures_are_dragged_onto_a_new_board_and_taken_back(port: int, open_page: OpenPage) -> None:
    page = open_page("/gallery", port=port)
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


@pytest.mark.long
def test_a_picture_is_put_on_a_board_by_keyboard(port: int, open_page: OpenPage) -> None:
    page = open_page("/gallery", port=port)
    page.locator(".cell[data-index='3'] button").focus()
    page.keyboard.press("t")
    page.get_by_role("dialog").get_by_label("Tag").fill("typed")
    page.keyboard.press("Enter")
    expect(page.locator("#boards button").filter(has_text="typed")).to_contain_text("1")


@pytest.mark.long
def test_a_drawn_picture_is_dragged_onto_the_form_to_start_from_it(port: int, open_page: OpenPage) -> None:
    page = open_page("/", port=port)
    drag(page, page.locator(".tile[data-state=succeeded] .mosaic button").first, page.locator("#ask textarea").last)
    start = page.get_by_role("img", name="The picture to start from")
    expect(start).to_be_visible()
    assert "/api/v1/images/img_" in (start.get_attribute("src") or "")

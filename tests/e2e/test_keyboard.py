"""The main task of each page by keyboard alone, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from limner_client.client import Client
from tests.e2e.bulks import submit_bulk
from tests.e2e.keyboard import enter, press, tab_to

OpenPage = Callable[..., Page]


def test_a_picture_is_drawn_looked_at_and_deleted_by_keyboard_alone(open_page: OpenPage) -> None:
    page = open_page()
    page.keyboard.press("/")
    page.keyboard.type("a balloon by keyboard")
    press(page, "Draw")
    tile = page.locator(".tile").filter(has_text="a balloon by keyboard")
    expect(tile).to_have_attribute("data-state", "succeeded", timeout=60_000)
    image = tile.locator(".mosaic button").get_attribute("aria-label")
    assert image is not None
    press(page, image)
    viewer = page.get_by_role("dialog", name="Picture viewer")
    expect(viewer).to_be_visible()
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    press(page, "More actions")
    expect(page.get_by_role("menuitem").first).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("menuitem", name="Delete")).to_be_focused()
    page.keyboard.press("Enter")
    expect(tile).to_be_hidden()


@pytest.mark.long
def test_a_conversation_goes_on_from_the_second_picture_by_keyboard_alone(open_page: OpenPage) -> None:
    page = open_page("/conversation")
    enter(page, "Message", "two pictures of a red car, 64x64")
    page.keyboard.press("Enter")
    pictures = page.locator(".reply.succeeded .choice")
    expect(pictures).to_have_count(2, timeout=60_000)
    second = pictures.nth(1)
    name = second.get_attribute("aria-label")
    assert name is not None
    press(page, name)
    expect(second).to_have_attribute("aria-pressed", "true")
    enter(page, "Message", "bluer")
    page.keyboard.press("Enter")
    expect(page.locator(".presentation").last).to_contain_text("a blue car", timeout=60_000)


@pytest.mark.long
def test_a_bulk_is_written_and_drawn_by_keyboard_alone(open_page: OpenPage) -> None:
    page = open_page("/bulk")
    enter(page, "Or write it here", "a keyboard apple\na keyboard pear")
    card = submit_bulk(page, lambda: press(page, "Draw 2 jobs"))
    expect(card).to_contain_text("2 jobs")
    expect(card.locator(".badge")).to_have_text("done", timeout=90_000)


@pytest.mark.long
def test_a_grid_is_chosen_and_drawn_by_keyboard_alone(open_page: OpenPage) -> None:
    page = open_page("/grid")
    enter(page, "Prompt", "sunflower")
    enter(page, "Columns: Steps", "1, 2")
    enter(page, "Rows: Guidance", "1, 3")
    press(page, "Draw 4 pictures")
    expect(page.locator("#grid img")).to_have_count(4, timeout=120_000)


@pytest.mark.long
def test_a_waiting_job_is_moved_and_canceled_by_keyboard_alone(service: int, open_page: OpenPage) -> None:
    with Client(f"http://127.0.0.1:{service}") as client:
        in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        job = client.submit({"prompt": "later", "not_before": in_an_hour}).id
        page = open_page("/queue")
        expect(page.locator(f"#{job}")).to_be_visible()
        press(page, "Move")
        expect(page.get_by_role("menuitem").first).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#waiting .group").first).to_contain_text("high priority")
        page.keyboard.press("Escape")
        press(page, "Cancel")
        expect(page.locator(f"#{job}")).to_have_count(0)
        assert client.job(job).status == "canceled"


@pytest.mark.long
def test_a_picture_is_found_marked_and_selected_by_keyboard_alone(service: int, open_page: OpenPage) -> None:
    with Client(f"http://127.0.0.1:{service}") as client:
        job = client.submit({"prompt": "a keyboard plum", "model": "limner-gan"}).id
        [*_, ended] = client.wait(job)
        assert ended.status == "succeeded"
    page = open_page("/gallery")
    enter(page, "Search", "keyboard plum")
    expect(page.locator("#number")).to_have_text("1 picture")
    tab_to(page, "Select")
    page.keyboard.press("Space")
    expect(page.get_by_role("toolbar", name="Selected pictures")).to_contain_text("1 selected")
    page.keyboard.press("f")
    expect(page.locator(".cell .loved")).to_be_visible()
    tab_to(page, "Favourites")
    page.keyboard.press("Space")
    expect(page.locator("#number")).to_have_text("1 picture")

"""The gallery in a real browser, with the real service."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from limner_client.client import Client
from tests.e2e.bulks import SMALL, draw_bulk
from tests.e2e.running import draw
from tests.e2e.states import PHONE
from tests.processes import eventually

NOTE_NUMBERS = """() => {
    window.noted = [];
    const number = document.querySelector("#number");
    new MutationObserver(() => {
        window.noted.push([number.textContent, document.querySelectorAll("#pictures .cell").length]);
    }).observe(number, { childList: true });
}"""
"""What is said of the number of pictures, each time with how many are shown then."""


@pytest.fixture(scope="module")
def many(service: int) -> str:
    """A bulk of 192 pictures."""
    return draw_bulk(service, *({"prompt": f"fox {number}", "n": 16} for number in range(12)))


def select(page: Page, *indices: int) -> None:
    for index in indices:
        page.locator(f".cell[data-index='{index}'] input").check(force=True)


@pytest.mark.long
def test_the_gallery_keeps_only_the_cells_near_the_window(many: str, open_page: Callable[..., Page]):
    page = open_page(f"/gallery?bulk={many}")
    expect(page.locator("#number")).to_contain_text("192 pictures")
    assert page.locator(".cell").count() < 100
    expect(page.locator(".cell[data-index='191']")).to_have_count(0)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    last = page.locator(".cell[data-index='191'] img")
    expect(last).to_be_in_viewport()
    eventually(lambda: last.evaluate("image => image.naturalWidth") == 64)
    expect(page.locator(".cell[data-index='0']")).to_have_count(0)


@pytest.mark.long
def test_selected_pictures_are_compared_and_downloaded_as_a_zip(
    many: str, open_page: Callable[..., Page], tmp_path: Path
):
    page = open_page(f"/gallery?bulk={many}")
    expect(page.locator("#number")).to_contain_text("192 pictures")
    select(page, 1, 3)
    page.get_by_role("button", name="Compare").click()
    viewer = page.get_by_role("dialog", name="Picture viewer")
    expect(viewer.locator(".two figure:visible")).to_have_count(2)
    page.keyboard.press("Escape")
    page.locator(".cell[data-index='5'] input").click(modifiers=["Shift"], force=True)
    expect(page.locator("#chosen b")).to_have_text("4 selected")
    with page.expect_download() as download:
        page.get_by_role("button", name="ZIP").click()
    download.value.save_as(tmp_path / "pictures.zip")
    with zipfile.ZipFile(tmp_path / "pictures.zip") as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 4
        assert all(archive.read(name).startswith(b"\x89PNG") for name in archive.namelist())
    page.keyboard.press("Escape")
    expect(page.locator("#chosen")).to_be_hidden()


def test_a_picture_that_is_drawn_meanwhile_appears_in_the_gallery(service: int, open_page: Callable[..., Page]):
    page = open_page("/gallery?model=limner-gan")
    expect(page.locator("#pictures")).to_have_attribute("aria-busy", "false")
    with Client(f"http://127.0.0.1:{service}") as client:
        client.submit(SMALL | {"prompt": "a late ghost"})
    expect(page.get_by_role("button", name="Enlarge: a late ghost")).to_be_visible(timeout=60_000)


def test_what_a_conversation_draws_meanwhile_appears_where_conversations_are_and_leads_back_to_it(
    service: int, open_page: Callable[..., Page]
):
    talks, alone = open_page("/gallery?origin=conversation"), open_page("/gallery?origin=single")
    for page in (talks, alone):
        expect(page.locator("#pictures")).to_have_attribute("aria-busy", "false")
    with httpx.Client(base_url=f"http://127.0.0.1:{service}/api/v1") as client:
        made = client.post("/conversations", json=SMALL | {"message": "a late lemon, please"}).json()
        assert client.get(f"/jobs/{made['turns'][0]['job']['id']}").json()["conversation"] == made["id"]
    draw(service, "a late lime alone", **SMALL)
    lime = re.compile("Enlarge: .*lime")
    expect(alone.get_by_role("button", name=lime)).to_be_visible(timeout=60_000)
    expect(talks.get_by_role("button", name=re.compile("Enlarge: .*lemon"))).to_be_visible(timeout=60_000)
    expect(talks.get_by_role("button", name=lime)).to_have_count(0)
    talks.get_by_role("button", name=re.compile("Enlarge: .*lemon")).click()
    talks.get_by_role("dialog", name="Picture viewer").get_by_role("button", name="More actions").click()
    talks.get_by_role("menuitem", name="Go on in its conversation").click()
    expect(talks.get_by_text("a late lemon, please").first).to_be_visible()
    assert made["id"] in talks.url


def test_each_tag_is_a_board_of_the_gallery(service: int, open_page: Callable[..., Page]):
    draw_bulk(service, {"prompt": "a fox for the board"}, {"prompt": "a fox without"})
    page = open_page("/gallery?q=board")
    expect(page.locator("#number")).to_have_text("1 picture")
    select(page, 0)
    page.get_by_role("button", name="Tag", exact=True).click()
    page.get_by_role("dialog").get_by_label("Tag").fill("foxes")
    page.keyboard.press("Enter")
    boards = page.get_by_role("region", name="Boards")
    page.get_by_role("searchbox", name="Search").fill("")
    boards.get_by_role("button", name="foxes 1").click()
    expect(page.locator("#number")).to_have_text("1 picture")
    expect(boards.get_by_role("button", name="foxes 1")).to_have_attribute("aria-pressed", "true")
    assert page.url.endswith("?tag=foxes")
    everything = boards.get_by_role("button", name="All pictures")
    expect(everything.locator("img").first).to_be_visible()
    everything.click()
    expect(page.locator("#number")).not_to_have_text("1 picture")


def test_pictures_are_separated_by_where_they_were_asked_for(service: int, open_page: Callable[..., Page]):
    draw(service, "a kiwi alone", **SMALL)
    draw_bulk(service, {"prompt": "a kiwi of a bulk"})
    with httpx.Client(base_url=f"http://127.0.0.1:{service}/api/v1") as client:
        message = SMALL | {"message": "a kiwi that was talked about"}
        job = client.post("/conversations", json=message).json()["turns"][0]["job"]["id"]
        eventually(lambda: client.get(f"/jobs/{job}").json()["status"] == "succeeded", 120)
    page = open_page("/gallery?q=kiwi")
    expect(page.locator("#number")).to_have_text("3 pictures")
    bulks = page.get_by_role("combobox", name="Bulk", exact=True)
    expect(bulks).to_be_hidden()
    for origin, prompt in (
        ("Drawn alone", "alone"),
        ("From bulks", "of a bulk"),
        ("From conversations", "talked about"),
    ):
        page.get_by_label("Origin").select_option(origin)
        expect(page.locator("#number")).to_have_text("1 picture")
        expect(page.locator(".cell .over")).to_contain_text(prompt)
        expect(bulks).to_be_visible(visible=origin == "From bulks")
    page.reload()
    expect(page.get_by_label("Origin")).to_have_value("conversation")
    expect(page.locator("#number")).to_have_text("1 picture")


def test_pictures_are_found_from_one_day_to_another(service: int, open_page: Callable[..., Page]):
    draw(service, "a damson of today", **SMALL)
    yesterday, tomorrow = (str(date.today() + timedelta(days)) for days in (-1, 1))  # noqa: DTZ011 - the reader's own
    page = open_page("/gallery?q=damson+of+today")
    for first, last, is_found in (
        (yesterday, "", True),
        (tomorrow, "", False),
        ("", tomorrow, True),
        ("", yesterday, False),
        (yesterday, tomorrow, True),
    ):
        page.get_by_label("From", exact=True).fill(first)
        page.get_by_label("Until", exact=True).fill(last)
        expect(page.locator("#number")).to_have_text("1 picture" if is_found else "")
        expect(page.get_by_role("heading", name="No picture matches")).to_be_visible(visible=not is_found)
    page.reload()
    expect(page.get_by_label("From", exact=True)).to_have_value(yesterday)


def test_on_a_phone_the_filters_are_folded_and_every_row_of_them_is_full(open_page: Callable[..., Page]):
    page = open_page("/gallery?style=flat", **PHONE)
    expect(page.get_by_label("Origin")).to_be_hidden()
    page.get_by_role("button", name="Filters 1").click()
    ends = "all => all.filter((each) => each.checkVisibility()).map((each) => each.getBoundingClientRect().right)"
    for origin in ("All origins", "From bulks"):
        page.get_by_label("Origin").select_option(origin)
        rights = page.locator("#filters > label ~ label").evaluate_all(ends)
        assert rights[-1] == max(rights)


def test_an_empty_gallery_says_what_to_do(open_page: Callable[..., Page]):
    page = open_page("/gallery?bulk=bulk_0123456789")
    expect(page.get_by_role("heading", name="No picture matches")).to_be_visible()


def test_the_number_of_pictures_is_said_together_with_the_pictures_and_not_of_an_earlier_search(
    service: int, open_page: Callable[..., Page]
):
    bulk = draw_bulk(service, *({"prompt": f"quince {name}"} for name in ("one", "two", "three")))
    page = open_page(f"/gallery?bulk={bulk}")
    expect(page.locator("#number")).to_have_text("3 pictures")
    page.evaluate(NOTE_NUMBERS)
    search = page.get_by_role("searchbox", name="Search")
    said = search.evaluate(
        "input => { input.value = 'two'; input.dispatchEvent(new Event('input', { bubbles: true }));"
        " return document.querySelector('#number').textContent; }"
    )
    assert said == ""
    expect(page.locator("#number")).to_have_text("1 picture")
    search.fill("")
    expect(page.locator("#number")).to_have_text("3 pictures")
    noted = page.evaluate("window.noted")
    if noted[0] == ["3 pictures", 3]:  # the first answer may be drawn once more
        del noted[0]
    assert noted == [["", 3], ["1 picture", 1], ["", 1], ["3 pictures", 3]]


def test_a_deletion_can_be_undone_while_the_pointer_or_the_focus_is_on_its_message(
    service: int, open_page: Callable[..., Page]
):
    bulk = draw_bulk(service, {"prompt": "quince to keep"}, {"prompt": "quince to delete"})
    page = open_page(f"/gallery?bulk={bulk}", clock=True)
    select(page, 0)
    page.keyboard.press("Delete")
    expect(page.locator("#number")).to_have_text("1 picture")
    undo = page.get_by_role("button", name="Undo")
    undo.hover()
    page.clock.run_for(60_000)
    undo.focus()
    page.mouse.move(5, 5)
    page.clock.run_for(60_000)
    undo.press("Enter")
    expect(page.locator("#number")).to_have_text("2 pictures")
    page.clock.run_for(60_000)
    expect(page.locator("#number")).to_have_text("2 pictures")
    select(page, 0)
    page.keyboard.press("Delete")
    page.clock.run_for(60_000)
    expect(undo).to_have_count(0)
    with httpx.Client(base_url=f"http://127.0.0.1:{service}/api/v1") as client:
        eventually(lambda: len(client.get(f"/jobs?bulk={bulk}").json()["items"]) == 1)


def test_pictures_are_marked_tagged_found_and_deleted_with_undo(service: int, open_page: Callable[..., Page]):
    bulk = draw_bulk(service, *({"prompt": f"octopus {name}"} for name in ("one", "two", "three")))
    page = open_page(f"/gallery?bulk={bulk}")
    expect(page.locator("#number")).to_have_text("3 pictures")
    select(page, 0)
    page.get_by_role("button", name="Favourite").click()
    expect(page.locator(".cell .loved")).to_have_count(1)
    page.get_by_role("button", name="Tag").click()
    page.get_by_role("dialog").get_by_label("Tag").fill("best")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 picture on the board “best”")).to_be_visible()
    page.get_by_label("Tag", exact=True).fill("best")
    expect(page.locator("#number")).to_have_text("1 picture")
    page.get_by_label("Tag", exact=True).fill("")
    page.get_by_role("searchbox", name="Search").fill("octopus two")
    expect(page.locator("#number")).to_have_text("1 picture")
    page.get_by_role("searchbox", name="Search").fill("")
    expect(page.locator("#number")).to_have_text("3 pictures")
    select(page, 0)
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#number")).to_have_text("2 pictures")
    page.get_by_role("button", name="Undo").last.click()
    expect(page.locator("#number")).to_have_text("3 pictures")
    select(page, 0)
    page.get_by_role("button", name="Delete").click()
    page.goto(f"http://127.0.0.1:{service}/gallery?bulk={bulk}")  # leaving the page deletes at once
    expect(page.locator("#number")).to_have_text("2 pictures")

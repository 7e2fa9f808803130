"""The menu of a picture, and what it does in the viewer and in a conversation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from limner_client.client import Client
from tests.e2e.bulks import SMALL
from tests.e2e.running import draw
from tests.processes import eventually

pytestmark = pytest.mark.long

OpenPage = Callable[..., Page]


def test_the_menu_of_a_picture_is_used_line_by_line_and_entry_by_entry_by_keyboard(service: int, open_page: OpenPage):
    draw(service, "a lemon with a menu", **SMALL)
    page = open_page()
    tile = page.locator(".tile", has_text="a lemon with a menu")
    tile.get_by_role("button", name="More actions").press("Enter")
    expect(page.get_by_role("menuitem").first).to_be_focused()
    for key, name in (
        ("End", "Delete"),
        ("ArrowDown", "Draw larger"),
        ("End", "Delete"),
        *[("ArrowUp", each) for each in ("Add a tag", "Add to favourites", "Copy picture", "Download PNG")],
        ("ArrowRight", "Download WebP"),
        ("ArrowRight", "Download JPEG"),
        ("ArrowRight", "Copy picture"),
        ("ArrowLeft", "Download JPEG"),
        ("ArrowUp", "Share a link"),
        ("Home", "Draw larger"),
        ("ArrowDown", "Start from this picture"),
    ):
        page.keyboard.press(key)
        expect(page.get_by_role("menuitem", name=name)).to_be_focused()
    expect(page.get_by_role("menu").get_by_role("separator")).to_have_count(3)
    page.keyboard.press("Escape")
    expect(tile.get_by_role("button", name="More actions")).to_be_focused()


def test_a_picture_of_several_is_marked_and_deleted_in_the_studios_viewer(service: int, open_page: OpenPage):
    with Client(f"http://127.0.0.1:{service}") as client:
        job = client.submit(SMALL | {"prompt": "a melon of two", "n": 2}).id
        *_, ended = client.wait(job)
        page = open_page()
        pictures = page.locator(f"#{job} .mosaic img")
        pictures.first.click()
        viewer = page.get_by_role("dialog", name="Picture viewer")
        more = viewer.get_by_role("button", name="More actions")
        more.click()
        page.get_by_role("menuitem", name="Add to favourites").click()
        expect(page.locator(f"#{job} .loved")).to_have_attribute("class", "loved")
        expect(page.locator(f"#{job} .loved")).not_to_have_attribute("hidden", "")
        more.click()
        page.get_by_role("menuitem", name="Delete").click()
        expect(pictures).to_have_count(1)
        page.keyboard.press("Escape")
        expect(viewer).to_be_hidden()
        page.get_by_role("button", name="Undo").click()  # it stays when the viewer is closed
        expect(pictures).to_have_count(2)
        pictures.last.click()
        more.click()
        page.get_by_role("menuitem", name="Delete").click()
        expect(pictures).to_have_count(1)
        page.goto(f"http://127.0.0.1:{service}/models")  # leaving the page deletes at once
        eventually(lambda: [image.id for image in client.job(job).images] == [ended.images[0].id], 120)


def test_the_thumbnails_of_the_viewer_stay_while_the_pictures_turn(service: int, open_page: OpenPage):
    draw(service, "a melon to turn", n=3, **SMALL)
    page = open_page()
    page.get_by_role("button", name="Enlarge: a melon to turn").first.click()
    page.evaluate("document.querySelectorAll('.strip img').forEach((each) => { each.isOld = true; })")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".strip [aria-current=true]")).to_have_count(1)
    expect(page.locator(".viewer .place")).to_contain_text("2 of")
    assert page.evaluate("document.querySelector('.strip [aria-current=true] img').isOld")


def test_the_picture_of_a_conversation_is_enlarged_saved_and_marked(open_page: OpenPage):
    page = open_page("/conversation")
    page.get_by_label("Message").fill("a pear, please")
    page.keyboard.press("Enter")
    reply = page.locator(".reply.succeeded")
    reply.get_by_role("button", name="Enlarge").click(timeout=60_000)
    viewer = page.get_by_role("dialog", name="Picture viewer")
    expect(viewer.locator(".place")).to_have_text("1 of 1")
    page.keyboard.press("Escape")
    reply.get_by_role("button", name="More actions").click()
    expect(page.get_by_role("menuitem", name="Delete")).to_have_count(0)
    with page.expect_download() as saved:
        page.get_by_role("menuitem", name="Download WebP").click()
    assert saved.value.suggested_filename.endswith(".webp")
    reply.get_by_role("button", name="More actions").click()
    with page.expect_response(lambda answer: answer.url.endswith("/favourite")) as marked:
        page.get_by_role("menuitem", name="Add to favourites").click()
    assert marked.value.ok

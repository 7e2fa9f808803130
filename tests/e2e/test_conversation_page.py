"""The conversation page in a real browser, with the real model."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.start_states import photo
from tests.e2e.states import PHONE
from tests.processes import eventually


def test_the_conversation_page_changes_a_picture_and_edits_a_message(open_page: Callable[..., Page]):
    page = open_page("/conversation")
    for number, text in enumerate(("please draw a red car, 64x64", "bluer"), 1):
        page.get_by_label("Message").fill(text)
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".reply.succeeded")).to_have_count(number, timeout=60_000)
    expect(page.locator(".presentation")).to_have_text([re.compile("a red car"), re.compile("a blue car")])
    picture = page.get_by_role("img", name="a blue car")
    eventually(lambda: picture.evaluate("image => image.naturalWidth") == 64)
    page.locator(".turn").nth(1).get_by_role("button", name="Edit").click()
    page.get_by_label("Message").fill("greener")
    page.keyboard.press("Enter")
    expect(page.locator(".presentation").last).to_contain_text("a green car", timeout=60_000)
    expect(page.locator(".branch").nth(1)).to_contain_text("2 / 2")
    page.reload()
    expect(page.locator(".presentation").last).to_contain_text("a green car", timeout=60_000)
    page.get_by_role("button", name="Previous version").click()
    expect(page.get_by_role("img", name="a blue car")).to_be_visible(timeout=60_000)
    page.reload()
    expect(page.get_by_role("img", name="a blue car")).to_be_visible(timeout=60_000)  # still the branch that was chosen
    expect(page.get_by_role("link", name="please draw a red car")).to_be_visible()
    page.get_by_role("button", name="More actions for please draw").click()
    page.get_by_role("menuitem", name="Rename").click()
    page.get_by_label("Title").fill("My garage")
    page.get_by_role("button", name="Rename", exact=True).click()
    expect(page.get_by_role("link", name="My garage")).to_be_visible()
    search = page.get_by_role("searchbox", name="Search conversations")
    search.fill("dragons")
    expect(page.get_by_text("Nothing found")).to_be_visible()
    search.fill("bluer")
    expect(page.get_by_role("link", name="My garage")).to_be_visible()


@pytest.mark.long
def test_what_a_message_was_understood_as_is_corrected_and_one_of_its_pictures_goes_on(
    open_page: Callable[..., Page],
):
    page = open_page("/conversation")
    page.get_by_label("Message").fill("two pictures of a red car in flat style, 64x64")
    page.keyboard.press("Enter")
    last = page.locator(".turn").last
    expect(last.get_by_role("button", name="Style flat")).to_be_visible(timeout=60_000)
    last.get_by_role("button", name="Style flat").click()
    page.get_by_role("menuitem", name="3d").click()
    expect(last.get_by_role("button", name="Style 3d")).to_be_visible(timeout=60_000)
    expect(last.get_by_role("button", name="Pictures 2")).to_be_visible()
    expect(last.locator(".branch")).to_contain_text("2 / 2")
    second = last.get_by_role("button", name="Go on from picture 2")
    seed = second.get_attribute("data-seed", timeout=60_000)
    second.click()
    with page.expect_request(lambda request: request.url.endswith("/messages")) as sent:
        page.get_by_label("Message").fill("make it blue")
        page.keyboard.press("Enter")
    body: Any = sent.value.post_data_json
    assert (str(body["seed"]), body["n"]) == (seed, 1)
    expect(last.get_by_role("button", name="Prompt a blue car")).to_be_visible(timeout=60_000)


def test_a_conversation_starts_from_a_picture_that_is_brought_kept_and_given_up(open_page: Callable[..., Page]):
    page = open_page("/conversation")
    page.locator(".attach input").set_input_files(photo())
    thumbnail = page.locator(".attached").get_by_role("img", name="The picture to start from")
    expect(thumbnail).to_be_visible()
    expect(page.get_by_label("Model")).to_have_value("canvas")  # the default model draws from words only
    page.get_by_label("Change", exact=True).fill("0.5")
    page.get_by_label("Message").fill("a boat")
    page.keyboard.press("Enter")
    last = page.locator(".turn").last
    brought = last.locator(".brought[data-field=image]")
    eventually(lambda: brought.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [64, 32])
    page.get_by_label("Message").fill("a bluer boat")
    page.keyboard.press("Enter")
    expect(page.locator(".reply.succeeded")).to_have_count(2, timeout=60_000)
    page.reload()
    expect(last.get_by_role("button", name="Start picture 50%")).to_be_visible()
    expect(last.locator(".brought[data-field=image]")).to_be_hidden()  # the message before brought it
    page.get_by_role("button", name="Start without a picture").click()
    page.get_by_label("Message").fill("a plane")
    page.keyboard.press("Enter")
    expect(page.locator(".reply.succeeded")).to_have_count(3, timeout=60_000)
    expect(last.get_by_role("button", name="Start picture")).to_have_count(0)
    expect(thumbnail).to_be_hidden()


def test_a_part_of_a_picture_that_was_drawn_is_painted_and_changed(open_page: Callable[..., Page]):
    page = open_page("/conversation")
    page.get_by_label("Message").fill("a plum, please")
    page.keyboard.press("Enter")
    reply = page.locator(".reply.succeeded")
    reply.get_by_role("button", name="More actions").click(timeout=60_000)
    page.get_by_role("menuitem", name="Change a part of it").click()
    painter = page.get_by_role("dialog", name="Mask painter")
    expect(painter.locator("canvas")).to_be_focused()
    page.keyboard.press("Space")
    painter.get_by_role("button", name="Use this mask").click()
    expect(page.get_by_label("Model")).to_have_value("canvas")  # the default model draws from words only
    expect(page.get_by_role("button", name="Change the mask")).to_be_visible()
    page.get_by_label("Message").fill("a leaf there")
    with page.expect_request(lambda request: request.url.endswith("/messages")) as sent:
        page.keyboard.press("Enter")
    body: Any = sent.value.post_data_json
    assert body["image"].startswith("img_")
    assert body["mask"].startswith("data:image/png;base64,")
    expect(reply).to_have_count(2, timeout=60_000)
    expect(page.get_by_role("button", name="Paint a mask")).to_be_visible()  # it was of that message alone


def test_small_talk_is_answered_in_words_with_examples_to_click(open_page: Callable[..., Page]):
    page = open_page("/conversation", locale="de")
    page.get_by_label("Nachricht").fill("Hallo, was kannst du zeichnen?")
    page.keyboard.press("Enter")
    reply = page.locator(".reply.words")
    expect(reply).to_contain_text("Ich zeichne Bilder nach Ihren Worten, mit dem Modell Limner Flow.")
    expect(reply.get_by_role("button", name="Noch eins")).to_be_hidden()
    reply.get_by_role("button", name="eine Rakete").click()
    expect(page.get_by_role("img", name="eine Rakete")).to_be_visible(timeout=60_000)
    page.reload()
    expect(reply).to_be_visible()
    expect(page.get_by_role("link", name="eine Rakete")).to_be_visible()  # the conversation's title


def test_on_a_phone_a_new_conversation_is_seen_from_its_top(open_page: Callable[..., Page]):
    page = open_page("/conversation", **PHONE)
    new, header = page.get_by_role("button", name="New conversation"), page.locator(".top")
    top, end = new.bounding_box(), header.bounding_box()
    assert top is not None
    assert end is not None
    assert top["y"] >= end["y"] + end["height"]
    assert page.evaluate("document.documentElement.scrollHeight - innerHeight") == 0  # nothing to scroll to

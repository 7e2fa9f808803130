"""Long prompts, suggestions while the cursor moves, and lines of many choices, in a real browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.long

OpenPage = Callable[..., Page]


def test_a_long_prompt_is_not_cut_but_told_to_be_too_long(open_page: OpenPage):
    page = open_page("/")
    prompt = page.get_by_role("textbox", name="Prompt")
    prompt.fill("")
    prompt.focus()
    page.keyboard.insert_text("a red apple " * 1000)  # as it is pasted
    assert len(prompt.input_value()) == 12_000
    told = page.get_by_text("The prompt has more than")
    expect(told).to_be_visible()
    prompt.fill("a red apple")
    expect(told).to_have_count(0)


def test_a_grid_does_not_cut_its_prompt(open_page: OpenPage):
    page = open_page("/grid")
    page.get_by_label("Prompt", exact=True).focus()
    page.keyboard.insert_text("a red apple " * 1000)
    page.get_by_role("button", name="Draw").click()
    expect(page.get_by_role("alert")).to_contain_text("The prompt has more than")


def test_a_suggestion_is_taken_where_it_was_made_although_the_cursor_has_moved(open_page: OpenPage):
    page = open_page("/")
    names = {"items": ["hedgehog"]}
    page.route("**/names?*", lambda route: route.fulfill(json=names))
    page.reload()
    prompt = page.get_by_role("textbox", name="Prompt")
    prompt.fill("")
    prompt.press_sequentially("a red hedg")
    option = page.get_by_role("option", name="hedgehog")
    expect(option).to_be_visible()
    for _ in range(8):
        page.keyboard.press("ArrowLeft")
    option.click()
    expect(prompt).to_have_value("a red hedgehog")


def test_a_line_of_empty_choices_is_refused_at_once(open_page: OpenPage):
    page = open_page("/bulk")
    page.set_default_timeout(15_000)
    page.get_by_label("Or write it here").fill("\n\na fox\n" + "{|}" * 30)
    expect(page.locator(".errors")).to_contain_text("at most")

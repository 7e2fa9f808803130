"""Long prompts in a real browser."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

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

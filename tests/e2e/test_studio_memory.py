"""What the studio remembers: earlier prompts, and whether the pictures of bulks are among the others."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.e2e.bulks import SMALL, draw_bulk
from tests.e2e.running import draw
from tests.e2e.states import PHONE

OpenPage = Callable[..., Page]


def test_earlier_prompts_are_offered_in_a_menu_and_forgotten_there(open_page: OpenPage):
    page = open_page(**PHONE)
    prompt, button = page.get_by_role("textbox", name="Prompt"), page.get_by_role("button", name="Earlier prompts")
    expect(button).to_be_hidden()
    prompt.fill("rocket of the menu")
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(button).to_be_visible()
    prompt.fill("half a sentence")
    button.tap()
    page.get_by_role("menuitem", name="rocket of the menu").tap()
    expect(prompt).to_have_value("rocket of the menu")
    expect(prompt).to_be_focused()
    button.tap()
    expect(page.get_by_role("menuitem")).to_have_text(["half a sentence", "rocket of the menu", "Forget these prompts"])
    page.get_by_role("menuitem", name="Forget these prompts").tap()
    expect(button).to_be_hidden()
    page.reload()
    expect(button).to_be_hidden()
    expect(prompt).to_have_value("rocket of the menu")


def test_the_lines_of_bulks_are_shown_only_with_bulks_too(service: int, open_page: OpenPage):
    draw(service, "a lone lobster", **SMALL)
    draw_bulk(service, {"prompt": "a lobster of many"})
    page = open_page()
    own = page.locator(".tile", has_text="a lone lobster")
    line, chip = page.locator(".tile", has_text="a lobster of many"), page.get_by_role("button", name="Show bulks too")
    expect(own).to_be_visible()
    expect(line).to_have_count(0)
    chip.click()
    expect(line).to_have_count(1)
    page.reload()
    expect(line).to_have_count(1)
    expect(chip).to_have_attribute("aria-pressed", "true")
    chip.click()
    expect(line).to_have_count(0)
    expect(own).to_be_visible()

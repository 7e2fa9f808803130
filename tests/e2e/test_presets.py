"""Settings are kept under a name, and are there in another browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.long


def presets(page: Page) -> Locator:
    page.get_by_role("button", name="Presets").click()
    dialog = page.get_by_role("dialog", name="Presets")
    expect(dialog.locator("li").first).to_be_visible()
    return dialog


def test_settings_are_kept_under_a_name_and_loaded_renamed_and_deleted_in_another_browser(
    open_page: Callable[..., Page],
):
    page = open_page()
    page.get_by_role("textbox", name="Prompt").fill("a ghost")
    page.locator(".looks label", has_text="3d").click()
    page.get_by_label("Pictures", exact=True).fill("4")
    page.get_by_label("Steps", exact=True).fill("12")
    page.get_by_label("Seed", exact=True).fill("77")
    dialog = presets(page)
    expect(dialog).to_contain_text("Keep settings that you like")
    dialog.get_by_label("Name of the current settings").fill("four figures/3d")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.locator("input:invalid")).to_have_count(1)
    dialog.get_by_label("Name of the current settings").fill("four figures")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.locator(".preset")).to_contain_text("four figures")
    expect(dialog.locator(".preset")).to_contain_text("4 pictures · 12 steps")
    dialog.get_by_role("button", name="Close").click()

    other = open_page()
    other.get_by_role("textbox", name="Prompt").fill("a rocket")
    dialog = presets(other)
    dialog.get_by_role("button", name="Rename four figures").click()
    other.get_by_role("textbox", name="Name", exact=True).fill("3d four")
    other.get_by_role("button", name="Rename", exact=True).click()
    dialog.locator(".preset", has_text="3d four").click()
    expect(dialog).to_have_count(0)
    expect(other.get_by_role("textbox", name="Prompt")).to_have_value("a rocket")
    expect(other.get_by_label("Pictures", exact=True)).to_have_value("4")
    expect(other.get_by_label("Steps", exact=True)).to_have_value("12")
    expect(other.get_by_label("Seed", exact=True)).to_have_value("77")
    expect(other.locator(".looks input:checked")).to_have_value("3d")

    dialog = presets(page)
    dialog.get_by_role("button", name="Delete 3d four").click()
    page.get_by_role("button", name="Undo").click()
    expect(dialog.locator(".preset")).to_contain_text("4 pictures · 12 steps")
    dialog.get_by_role("button", name="Delete 3d four").click()
    expect(dialog.locator(".nothing")).to_be_visible()


def test_a_preset_is_replaced_by_its_name_and_that_can_be_undone(open_page: Callable[..., Page]):
    page = open_page()
    dialog = presets(page)
    for number in ("2", "5"):
        dialog.get_by_role("button", name="Close").click()
        page.get_by_label("Pictures", exact=True).fill(number)
        dialog = presets(page)
        dialog.get_by_label("Name of the current settings").fill("some")
        page.keyboard.press("Enter")
        expect(dialog.locator(".preset")).to_contain_text(f"{number} pictures")
    page.get_by_role("button", name="Undo").click()
    expect(dialog.locator(".preset")).to_contain_text("2 pictures")
    dialog.get_by_role("button", name="Delete some").click()
    expect(dialog.locator(".preset")).to_have_count(0)

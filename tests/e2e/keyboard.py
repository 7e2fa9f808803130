"""Uses a page by keyboard alone."""

from __future__ import annotations

from typing import Final

from playwright.sync_api import Page

MOST_TABS: Final = 80
FOCUSED: Final = """() => {
    const {activeElement: focused} = document;
    const labels = [...(focused.labels ?? [])].map((each) => each.textContent.trim());
    return focused.getAttribute("aria-label") ?? (labels.join(" ") || focused.innerText);
}"""
"""The name of the element that has the focus."""


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the focus is on the element whose name begins like this."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUSED).startswith(name):
            return
    raise AssertionError(f"Tab does not reach {name}")


def press(page: Page, name: str) -> None:
    """Go to the button or link with this name, and press it."""
    tab_to(page, name)
    page.keyboard.press("Enter")


def enter(page: Page, name: str, text: str) -> None:
    """Go to the field with this name, and write into it in place of what is there."""
    tab_to(page, name)
    page.keyboard.press("Control+A")
    page.keyboard.type(text)

"""Files that are dropped on a page: it is never left for them, and settings are taken to the studio."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.test_files_of_pages import PARAMETERS, png

OpenPage = Callable[..., Page]
DROP = """([base64, name, type]) => {
    const bytes = Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name, { type }));
    const over = { dataTransfer, bubbles: true, cancelable: true };
    return ["dragover", "drop"].map((kind) => !document.querySelector("h1").dispatchEvent(new DragEvent(kind, over)));
}"""
"""Drops a file on the page's heading, and says of both events whether the page takes them from the browser."""


def drop(page: Page, file: bytes, name: str = "dropped.png", kind: str = "image/png") -> None:
    assert page.evaluate(DROP, [base64.b64encode(file).decode(), name, kind]) == [True, True]


@pytest.mark.parametrize("path", ["/gallery", "/queue", "/grid", "/bulk"])
def test_the_settings_of_a_picture_that_is_dropped_on_a_page_are_taken_to_the_studio(
    path: str, open_page: OpenPage
) -> None:
    page = open_page(path)
    drop(page, png(None))
    expect(page.get_by_text("does not say how it was made")).to_be_visible()
    assert page.url.endswith(path)
    drop(page, png(PARAMETERS))
    expect(page.get_by_text("Settings loaded")).to_be_visible()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a fox, (red:1.2)")
    expect(page.locator("#ask [name=seed]")).to_have_value("77")
    page.get_by_label("Prompt", exact=True).fill("another fox")
    page.reload()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("another fox")


def test_a_page_on_which_something_has_been_written_is_left_only_when_that_is_chosen(open_page: OpenPage) -> None:
    page = open_page("/grid")
    page.get_by_label("Prompt", exact=True).fill("a fox on a grid")
    drop(page, png(PARAMETERS))
    expect(page.get_by_text("This picture says how it was made.")).to_be_visible()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a fox on a grid")
    page.get_by_role("button", name="Load its settings in the studio").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a fox, (red:1.2)")


def test_a_text_file_is_dropped_anywhere_on_the_page_of_bulks(open_page: OpenPage) -> None:
    page = open_page("/bulk")
    text = page.get_by_label("Or write it here")
    text.fill("a written fox")
    drop(page, b"one fox\ntwo foxes\n", "foxes.txt", "text/plain")
    expect(page.get_by_text("2 lines of plain text are ready.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(text).to_have_value("a written fox")
    expect(page.get_by_text("1 line of plain text is ready.")).to_be_visible()

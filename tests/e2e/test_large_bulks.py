"""Bulks from large files: the page shows a file's name instead of its text, reads it in slices, and sends all of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Page, expect

from limner_client.client import Client
from tests.e2e.bulks import SMALL

OpenPage = Callable[..., Page]
LINES = 500
LINE_BYTES = 60_000
COUNT_TURNS = """() => {
    window.turns = 0;
    const count = () => { window.turns += document.querySelector("#large progress") ? 1 : 0; setTimeout(count); };
    count();
}"""
"""Counts how often the page does something else while a file is read."""


def line(number: int, **more: str) -> bytes:
    in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    request = SMALL | {"prompt": f"fox {number}", "not_before": in_an_hour} | more
    return json.dumps(request).encode().ljust(LINE_BYTES) + b"\n"


def test_a_large_file_is_read_while_the_page_answers_and_all_its_lines_are_sent(
    service: int, open_page: OpenPage, tmp_path: Path
) -> None:
    file = tmp_path / "foxes.jsonl"
    lines = [line(number) for number in range(LINES)]
    lines[LINES // 2] = line(0, style="oil")
    file.write_bytes(b"".join(lines))
    page = open_page("/bulk")
    text, card = page.get_by_label("Or write it here"), page.locator("#large")
    text.fill("a written fox")
    page.evaluate(COUNT_TURNS)
    page.get_by_label("Choose a file").set_input_files(file)
    expect(card).to_contain_text("foxes.jsonl")
    expect(card).to_contain_text("30 MB · 500 lines")
    assert page.evaluate("turns") > 2
    expect(text).to_be_hidden()
    expect(text).to_have_value("a written fox")
    expect(page.locator(".errors tr")).to_contain_text(["Line 251The model has no style"])
    page.get_by_label("Leave out").check()
    page.get_by_role("button", name="Draw 499 jobs").click()
    bulk = page.locator(".bulk").filter(has_text="499 waiting")
    expect(bulk).to_be_visible()
    expect(text).to_be_visible()
    expect(page.get_by_text("1 line of plain text is ready.")).to_be_visible()
    with Client(f"http://127.0.0.1:{service}") as client:
        made = client.cancel_bulk(bulk.get_attribute("id") or "")
    assert made.total == LINES - 1


def test_a_large_text_is_checked_and_removed_or_refused_if_it_has_changed(open_page: OpenPage, tmp_path: Path) -> None:
    file = tmp_path / "foxes.txt"
    file.write_text("".join(f"a fox in a wood with {number} trees\n" for number in range(100_000)))
    page = open_page("/bulk")
    choose, draw = page.get_by_label("Choose a file"), page.get_by_role("button", name="Draw 100,000 jobs")
    choose.set_input_files(file)
    expect(page.get_by_text("100,000 lines of plain text are ready.")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_label("Or write it here")).to_have_value("")
    expect(page.get_by_label("Or write it here")).to_be_focused()
    choose.set_input_files(file)
    expect(draw).to_be_enabled()
    file.write_text("a fox")
    draw.click()
    expect(page.get_by_text("The file cannot be read. It may have changed: choose it again.")).to_be_visible()
    expect(page.locator("#large")).to_be_hidden()

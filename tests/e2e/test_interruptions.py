"""Pages that are open while they are reloaded or the service is restarted."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from limner_client.local.embedded_valkey import free_port
from tests.e2e.running import limner_up

LONG = {"pictures": "16", "steps": "100"}
"""Enough work to be interrupted on any machine."""


def draw(page: Page, prompt: str) -> str:
    """Ask the studio for a lot of work; returns the id of its tile."""
    page.get_by_role("textbox", name="Prompt").fill(prompt)
    page.get_by_label("Pictures", exact=True).fill(LONG["pictures"])
    page.get_by_label("Steps", exact=True).fill(LONG["steps"])
    page.get_by_role("button", name="Draw", exact=True).click()
    tile = page.locator(".tile").filter(has_text=prompt).first
    expect(tile.locator(".said")).to_contain_text("%", timeout=60_000)
    name = tile.get_attribute("id")
    assert name is not None
    return name


@pytest.mark.long
def test_open_pages_go_on_after_a_reload_and_a_restart_of_the_service(tmp_path: Path, browser: Browser) -> None:
    data, port = tmp_path / "data", free_port()
    context = browser.new_context()
    studio, talk, bulk = (context.new_page() for _ in range(3))
    with limner_up(data, port):
        for page, path in ((studio, "/"), (talk, "/conversation"), (bulk, "/bulk")):
            page.goto(f"http://127.0.0.1:{port}{path}")
        name = draw(studio, "ghost")
        studio.reload()
        expect(studio.locator(f"#{name} .said")).to_contain_text("%", timeout=60_000)
        talk.get_by_label("Message").fill("draw a red car, please")
        talk.keyboard.press("Enter")
        expect(talk.locator(".reply")).to_have_count(1)
        bulk.get_by_label("Or write it here").fill("a red apple\na cat face")
        bulk.get_by_role("button", name="Draw 2 jobs").click()
        expect(bulk.locator(".bulk")).to_have_count(1)
    for page in (studio, talk, bulk):
        expect(page.locator("#connection")).to_contain_text("Connection lost", timeout=60_000)
    studio.get_by_role("textbox", name="Prompt").fill("written while nothing answered")
    with limner_up(data, port):
        for page in (studio, talk, bulk):
            expect(page.locator("#connection")).to_be_hidden(timeout=60_000)
        expect(studio.locator(f"#{name} img").first).to_be_visible(timeout=180_000)
        expect(studio.get_by_role("textbox", name="Prompt")).to_have_value("written while nothing answered")
        expect(talk.locator(".presentation")).to_contain_text("a red car", timeout=180_000)
        expect(bulk.locator(".bulk").first).to_contain_text("done", timeout=180_000)
    context.close()

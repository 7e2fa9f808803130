"""Files that the pages read and write: settings of a picture, contact sheets, conversations."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Page, expect

from tests.e2e.bulks import draw_bulk
from tests.e2e.running import draw

OpenPage = Callable[..., Page]
PARAMETERS = (
    "a fox, (red:1.2)\nNegative prompt: hat\n"
    'Steps: 12, Sampler: Euler a, CFG scale: 4.5, Seed: 77, Size: 256x256, Model: "x, y"'
)
DROP = """([base64, name]) => {
    const bytes = Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name, { type: "image/png" }));
    const over = { dataTransfer, bubbles: true, cancelable: true };
    document.querySelector("main").dispatchEvent(new DragEvent("dragover", over));
    document.querySelector("main").dispatchEvent(new DragEvent("drop", over));
}"""


def png(text: str | None) -> bytes:
    info, buffer = PngInfo(), io.BytesIO()
    if text is not None:
        info.add_text("parameters", text)
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def drop(page: Page, file: bytes) -> None:
    page.evaluate(DROP, [base64.b64encode(file).decode(), "dropped.png"])


def values(page: Page) -> dict[str, str]:
    names = ("prompt", "seed", "steps", "guidance", "size")
    return {name: page.locator(f"#ask [name={name}]").input_value() for name in names}


@pytest.mark.long
def test_the_settings_of_a_dropped_picture_or_a_pasted_text_are_loaded(service: int, open_page: OpenPage) -> None:
    page = open_page()
    expected = {"prompt": "a fox, (red:1.2)", "seed": "77", "steps": "12", "guidance": "4.5", "size": "256x256"}
    drop(page, png(PARAMETERS))
    expect(page.get_by_text("Settings loaded")).to_be_visible()
    assert values(page) == expected
    own = draw(service, "red apple", model="limner-gan", seed=5)
    drop(page, own)
    expect(page.get_by_text("does not state its prompt")).to_be_visible()
    assert values(page)["seed"] == "5"
    assert page.locator("#ask [name=model]").input_value() == "limner-gan"
    for unsaid in (png(None), png(PARAMETERS)[:60], b"no picture"):
        drop(page, unsaid)
        expect(page.get_by_text("does not say how it was made").last).to_be_visible()
    page.get_by_label("Prompt", exact=True).fill("")
    page.evaluate(
        """(text) => {
            const clipboardData = new DataTransfer();
            clipboardData.setData("text/plain", text);
            const event = new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true });
            document.querySelector("[name=prompt]").dispatchEvent(event);
        }""",
        PARAMETERS,
    )
    assert values(page)["prompt"] == expected["prompt"]


@pytest.mark.long
def test_the_pictures_of_a_bulk_are_saved_as_one_contact_sheet(service: int, open_page: OpenPage) -> None:
    bulk = draw_bulk(
        service, {"prompt": "ghost", "model": "limner-gan", "n": 3}, {"prompt": "fox", "model": "limner-gan"}
    )
    page = open_page("/bulk")
    with page.expect_download() as download:
        page.locator(f"#{bulk}").get_by_role("button", name="Contact sheet").click()
    with Image.open(download.value.path()) as sheet:
        assert sheet.size == (16 + 2 * 208, 16 + 2 * 238)  # two rows of two
        colours = {
            sheet.convert("RGB").getpixel((16 + x * 208 + 96, 16 + y * 238 + 96)) for x in (0, 1) for y in (0, 1)
        }
    assert colours != {(255, 255, 255)}


@pytest.mark.long
def test_a_conversation_is_saved_as_a_text_file_and_deleted(service: int, open_page: OpenPage) -> None:
    page = open_page("/conversation")
    page.get_by_label("Message").fill("a [red] apple, please, 64x64")
    page.keyboard.press("Enter")
    expect(page.locator(".reply.succeeded")).to_be_visible(timeout=60_000)
    for text in ("thank you", "thanks a lot"):
        page.get_by_label("Message").fill(text)
        page.keyboard.press("Enter")
        expect(page.locator(".reply.words").last).to_be_visible()
        if text == "thank you":
            page.locator(".turn").last.get_by_role("button", name="Edit").click()
    expect(page.locator(".branch").last).to_contain_text("2 / 2")
    answers = page.locator(".reply.words .presentation").all_inner_texts()
    more = page.get_by_role("button", name="More actions for a [red] apple")
    more.click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Save as a text file").click()
    text = Path(download.value.path()).read_text()
    assert "> a [red] apple, please, 64x64" in text
    assert "](http://" in text
    assert "## Message 2, version 1 of 2\n\n> thank you\n\n" in text
    assert f"## Message 2, version 2 of 2\n\n> thanks a lot\n\n{answers[-1]}\n" in text
    more.click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="What would you like to see?")).to_be_visible()
    expect(more).to_have_count(0)

"""The studio's form with models that follow a control picture or take references, and the sizes that it offers."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageColor
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.long

NOTE_SCROLLING = """() => {
    const own = Element.prototype.scrollIntoView;
    window.scrolled = [];
    Element.prototype.scrollIntoView = function (options) {
        window.scrolled.push(options.behavior);
        own.call(this, options);
    };
}"""


def sent_by(page: Page, act: Callable[[], None]) -> Any:
    """The request of a job that is sent when something is done."""
    with page.expect_request(lambda request: request.method == "POST" and request.url.endswith("/jobs")) as sent:
        act()
    return sent.value.post_data_json


def test_a_control_picture_is_sent_with_how_strictly_it_is_followed(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    Image.new("RGB", (320, 160), "navy").save(tmp_path / "edges.png")
    page = open_page()
    section = page.get_by_role("region", name="Control picture")
    expect(section).to_be_hidden()
    page.get_by_role("combobox", name="Model", exact=True).select_option("tracer")
    expect(section).to_be_visible()
    page.get_by_role("textbox", name="Prompt").fill("a lake at dawn")
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("without a control picture")
    section.locator("input[type=file]").set_input_files(tmp_path / "edges.png")
    expect(page.get_by_role("img", name="The picture to follow")).to_be_visible()
    expect(page.get_by_label("Control", exact=True)).to_have_value("0.7")
    page.get_by_label("Control", exact=True).fill("1.2")
    with page.expect_request(lambda request: request.method == "POST" and request.url.endswith("/jobs")) as sent:
        page.get_by_role("button", name="Draw", exact=True).click()
    told: Any = sent.value.post_data_json
    assert told["control_image"].startswith("data:image/png;base64,")
    assert told["control_scale"] == 1.2
    assert "image" not in told
    page.get_by_role("button", name="Remove the control picture").click()
    expect(section.get_by_text("edges, depth or what else")).to_be_visible()

    lakes = page.locator("#gallery > .tile", has_text="a lake at dawn")
    expect(lakes).to_have_count(1)
    made = lakes.get_attribute("id")
    tile = page.locator(f"#{made}")
    tile.get_by_role("button", name="Remix").click()
    shown = page.get_by_role("img", name="The picture to follow")
    expect(shown).to_have_js_property("complete", value=True)
    assert shown.evaluate("image => image.naturalWidth") > 0
    expect(page.get_by_label("Control", exact=True)).to_have_value("1.2")
    page.screenshot(path=tmp_path / "remixed.png")
    with page.expect_request(lambda request: request.method == "POST" and request.url.endswith("/jobs")) as repeated:
        tile.get_by_role("button", name="Again").click()
    again: Any = repeated.value.post_data_json
    assert (again["control_image"], again["control_scale"]) == (made, 1.2)
    expect(lakes).to_have_count(2)


def test_a_conversation_follows_a_control_picture_that_is_brought_and_goes_on_with_it(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    Image.new("RGB", (320, 160), "navy").save(tmp_path / "edges.png")
    page = open_page("/conversation")
    page.get_by_role("combobox", name="Model").select_option("tracer")
    page.get_by_label("Control picture", exact=True).set_input_files(tmp_path / "edges.png")
    composed = page.locator("#compose").get_by_role("img", name="The picture to follow")
    expect(composed).to_be_visible()
    page.get_by_label("Control", exact=True).fill("1.2")
    page.evaluate(NOTE_SCROLLING)
    page.get_by_label("Message").fill("a lake at dawn")
    page.get_by_label("Message").press("Enter")
    expect(page.locator(".reply.succeeded")).to_have_count(1)
    expect(page.locator("#turns").get_by_role("img", name="The picture to follow")).to_be_visible()
    shown = page.locator(".reply .pictures img").bounding_box()
    assert shown is not None
    assert abs(shown["width"] / shown["height"] - 2) < 0.1  # whole, in its own shape
    assert set(page.evaluate("window.scrolled")) == {"instant"}  # this reader wants no motion
    page.reload()
    expect(composed).to_be_visible()
    expect(page.get_by_label("Control", exact=True)).to_have_value("1.2")
    expect(page.get_by_role("button", name="Remove the control picture")).to_be_hidden()
    page.get_by_label("Message").fill("at night")
    with page.expect_response(lambda answer: answer.url.endswith("/messages")) as answer:
        page.get_by_label("Message").press("Enter")
    sent: Any = answer.value.request.post_data_json
    assert (sent["control_scale"], "control_image" in sent) == (1.2, False)
    job = answer.value.json()["job"]
    assert (bool(job["control_image"]), job["control_scale"]) == (True, 1.2)
    expect(page.locator(".reply.succeeded")).to_have_count(2)
    expect(page.locator("#turns").get_by_role("img", name="The picture to follow")).to_have_count(1)


def test_reference_pictures_are_given_and_removed_and_carried_by_again_and_remix(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    files = [tmp_path / f"{colour}.png" for colour in ("navy", "gold", "plum", "teal")]
    for file in files:
        Image.new("RGB", (48, 48), file.stem).save(file)
    page = open_page()
    section = page.get_by_role("region", name="Reference pictures")
    expect(section).to_be_hidden()
    page.get_by_role("combobox", name="Model", exact=True).select_option("likeness")
    expect(section.get_by_text("up to 3, for their subject or style")).to_be_visible()
    section.locator("input[type=file]").set_input_files(files)
    expect(page.get_by_role("status").get_by_text("takes 3 reference pictures")).to_be_visible()
    expect(section.get_by_role("img", name="Reference picture")).to_have_count(3)
    page.get_by_label("Influence").fill("0.9")
    page.get_by_role("textbox", name="Prompt").fill("a quiet harbour")
    draw = page.get_by_role("button", name="Draw", exact=True)
    first = sent_by(page, draw.click)
    assert [each[:22] for each in first["reference_images"]] == ["data:image/png;base64,"] * 3
    assert first["reference_scale"] == 0.9
    harbours = page.locator("#gallery > .tile", has_text="a quiet harbour")
    expect(harbours).to_have_count(1)
    made = harbours.get_attribute("id")

    section.get_by_role("button", name="Remove reference picture 1").click()
    page.get_by_label("Influence").fill("0.1")
    expect(section.get_by_role("img")).to_have_count(2)
    page.locator(f"#{made}").get_by_role("button", name="Remix").click()
    pictures = section.get_by_role("img", name="Reference picture")
    expect(pictures).to_have_count(3)
    expect(page.get_by_label("Influence")).to_have_value("0.9")
    assert sent_by(page, draw.click)["reference_images"] == [made] * 3
    section.get_by_role("button", name="Remove reference picture 2").click()
    last = sent_by(page, draw.click)["reference_images"]
    assert last[0] == made  # each id stands for the picture in its own place
    with Image.open(io.BytesIO(base64.b64decode(last[1].partition(",")[2]))) as picture:
        assert picture.convert("RGB").getpixel((5, 5)) == ImageColor.getrgb("plum")
    again = page.locator(f"#{made}").get_by_role("button", name="Again")
    repeated = sent_by(page, again.click)
    assert (repeated["reference_images"], repeated["reference_scale"]) == ([made] * 3, 0.9)
    expect(harbours).to_have_count(4)


def test_a_size_is_chosen_by_its_shape_also_by_keyboard(open_page: Callable[..., Page]) -> None:
    page = open_page()
    shapes = page.get_by_role("group", name="Size")
    expect(shapes.get_by_role("radio")).to_have_count(2)
    page.get_by_role("combobox", name="Model", exact=True).select_option("likeness")
    expect(shapes.get_by_role("radio", checked=True)).to_have_accessible_name("64 × 64, 1:1")
    expect(page.get_by_role("combobox", name="Size")).to_be_hidden()
    shapes.get_by_text("3:2").click()
    page.keyboard.press("ArrowRight")
    expect(shapes.get_by_role("radio", name="64 × 96, 2:3")).to_be_focused()
    page.get_by_role("textbox", name="Prompt").fill("a tower")
    told = sent_by(page, page.get_by_role("button", name="Draw", exact=True).click)
    assert (told["width"], told["height"]) == (64, 96)
    page.get_by_role("combobox", name="Model", exact=True).select_option("tracer")
    expect(page.get_by_role("combobox", name="Size")).to_have_value("64x32")
    expect(shapes).to_be_hidden()

"""The studio's form with a model that follows a control picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.long


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

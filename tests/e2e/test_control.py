"""The studio's form with a model that follows a control picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from limner_client.local.embedded_valkey import free_port
from tests.e2e.conftest import CARDS
from tests.e2e.running import limner_up

OpenPage = Callable[..., Page]
CONTROL = "\n[control]\nscale = { min = 0.0, max = 1.5, default = 0.7 }\n"


@pytest.fixture
def tracer_port(tmp_path: Path) -> Iterator[int]:
    """The port of a service with a model that follows control pictures."""
    card = (CARDS / "canvas.toml").read_text().replace('"canvas"', '"tracer"').replace('"Canvas"', '"Tracer"')
    (tmp_path / "tracer.toml").write_text(card + CONTROL)
    port = free_port()
    with limner_up(tmp_path / "data", port, LIMNER_MODELS=str(tmp_path / "tracer.toml")):
        yield port


def test_a_control_picture_is_sent_with_how_strictly_it_is_followed(
    tracer_port: int, open_page: OpenPage, tmp_path: Path
) -> None:
    Image.new("RGB", (320, 160), "navy").save(tmp_path / "edges.png")
    page = open_page(port=tracer_port)
    section = page.get_by_role("region", name="Control picture")
    expect(section).to_be_hidden()
    page.get_by_role("combobox", name="Model", exact=True).select_option("tracer")
    expect(section).to_be_visible()
    page.get_by_role("textbox", name="Prompt").fill("a lake")
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

    made = page.locator("#gallery > [id^=job_]").get_attribute("id")
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
    expect(page.locator("#gallery > [id^=job_]")).to_have_count(2)

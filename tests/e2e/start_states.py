"""The states of the studio that start from a picture: with references, a mask, and the part around it."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw
from playwright.sync_api import FilePayload, Page, Route, expect


def photo() -> FilePayload:
    """A picture to start from: a sun over a field."""
    picture = Image.new("RGB", (640, 420), "#8ec1de")
    pen = ImageDraw.Draw(picture)
    pen.ellipse((230, 90, 410, 270), fill="#e9a23b")
    pen.rectangle((0, 300, 640, 420), fill="#6c9440")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return {"name": "field.png", "mimeType": "image/png", "buffer": buffer.getvalue()}


def started(page: Page) -> None:
    page.evaluate("document.querySelector('.settings').open = true")
    page.get_by_role("combobox", name="Model", exact=True).select_option("canvas")
    page.locator(".start input[type=file]").set_input_files(photo())
    expect(page.get_by_role("img", name="The picture to start from")).to_be_visible()


def referring(page: Page) -> None:
    page.evaluate("document.querySelector('.settings').open = true")
    page.get_by_role("combobox", name="Model", exact=True).select_option("likeness")
    page.locator(".references input[type=file]").set_input_files([photo(), photo()])
    expect(page.get_by_role("img", name="Reference picture")).to_have_count(2)


def masking(page: Page) -> None:
    started(page)
    page.get_by_role("button", name="Paint a mask").click()
    box = page.get_by_role("dialog", name="Mask painter").locator("canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.45)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.4, steps=5)
    page.mouse.up()


def masked(page: Page) -> None:
    masking(page)
    page.get_by_role("button", name="Use this mask").click()
    expect(page.get_by_role("button", name="Change the mask")).to_be_visible()


def cropped(page: Page) -> None:
    """With a model that draws only the part around a mask: those of the tests cannot."""

    def able(route: Route) -> None:
        route.fulfill(body=route.fetch().text().replace('"mask_crops": false', '"mask_crops": true'))

    page.route(page.url, able)
    page.reload()
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    masked(page)
    page.get_by_role("checkbox", name="Draw only the part around the mask").check()
    expect(page.get_by_label("Margin around the mask")).to_be_visible()

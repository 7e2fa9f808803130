"""The pages can be installed as a web app."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.api.clients import App


def test_every_page_names_a_manifest_whose_icons_exist_and_which_needs_no_key(make_app: Callable[..., App]) -> None:
    client = make_app(require_keys=True).test_client()
    assert 'rel="manifest" href="/static/app.webmanifest"' in client.get("/sign-in").text
    with client.get("/static/app.webmanifest") as answer:
        assert answer.content_type == "application/manifest+json"
        manifest = json.loads(answer.data)
    assert manifest["display"] == "standalone"
    assert {each["purpose"] for each in manifest["icons"]} == {"any", "maskable"}
    for each in manifest["icons"]:
        with client.get(f"/static/{each['src']}") as icon:
            assert icon.content_type.startswith(each["type"])

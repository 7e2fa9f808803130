"""The pages can be installed as a web app."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import urljoin

from tests.api.clients import App


def test_every_page_names_a_manifest_whose_icons_exist_and_which_needs_no_key(make_app: Callable[..., App]) -> None:
    client = make_app(require_keys=True).test_client()
    found = re.search(r'rel="manifest" href="(/static/[0-9a-f]+/app.webmanifest)"', client.get("/sign-in").text)
    assert found
    with client.get(found[1]) as answer:
        assert answer.content_type == "application/manifest+json"
        manifest = json.loads(answer.data)
    assert manifest["display"] == "standalone"
    assert {each["purpose"] for each in manifest["icons"]} == {"any", "maskable"}
    for each in manifest["icons"]:
        with client.get(urljoin(found[1], each["src"])) as icon:
            assert icon.content_type.startswith(each["type"])

"""How the pages follow events: by one stream, while they are shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from limner_client.client import Client
from tests.e2e.bulks import SMALL
from tests.e2e.running import draw
from tests.processes import eventually

OpenPage = Callable[..., Page]
STREAMS = """
window.streams = new Set();
const Real = EventSource;
window.EventSource = class extends Real {
    constructor(...given) { super(...given); streams.add(this); }
    close() { super.close(); streams.delete(this); }
};
let isHidden = false;
Object.defineProperty(Document.prototype, "hidden", { get: () => isHidden });
window.hide = (on) => { isHidden = on; document.dispatchEvent(new Event("visibilitychange")); };
"""
OPEN = "[...streams].filter((each) => each.readyState === EventSource.OPEN).length"


def watched(open_page: OpenPage, path: str, port: int | None = None) -> Page:
    """A page whose streams can be counted, and which can be hidden."""
    page = open_page(path) if port is None else open_page(path, port=port)
    page.add_init_script(STREAMS)
    page.reload()
    eventually(lambda: page.evaluate(OPEN) == 1)
    return page


@pytest.mark.parametrize("path", ["/", "/gallery"])
def test_a_hidden_page_holds_no_stream_and_catches_up_when_it_is_shown(path: str, service: int, open_page: OpenPage):
    gone = draw(service, f"a pear to delete {path}", **SMALL)
    assert gone
    page = watched(open_page, path)
    shown = page.locator(".tile, .cell").filter(has_text=f"a pear to delete {path}")
    expect(shown).to_have_count(1)
    page.evaluate("hide(true)")
    assert page.evaluate(OPEN) == 0
    draw(service, f"a plum meanwhile {path}", **SMALL)
    with Client(f"http://127.0.0.1:{service}") as client:
        [job] = [each for each in client.jobs().items if each.prompt == f"a pear to delete {path}"]
        client.delete(job.id)
    page.evaluate("hide(false)")
    expect(page.locator(".tile, .cell").filter(has_text=f"a plum meanwhile {path}")).to_have_count(1)
    expect(shown).to_have_count(0)
    assert page.evaluate(OPEN) == 1

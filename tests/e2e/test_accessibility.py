"""axe-core finds nothing wrong with any page, and a picture is drawn, looked at and deleted by keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.e2e.accessibility import SIZES, in_all_modes, violations
from tests.e2e.states import PHONE, STATES, State, fill, loaded, new_context, open_state

CHECKED = {
    "studio",
    "studio-first",
    "studio-understood",
    "studio-start",
    "studio-mask",
    "studio-problem",
    "studio-menu",
    "studio-share",
    "studio-keymap",
    "viewer-receipt",
    "viewer-slider",
    "gallery-selected",
    "gallery-board",
    "gallery-empty",
    "conversation-reply",
    "bulk",
    "queue-idle",
    "queue",
    "grid-plan",
    "account",
    "account-webhook",
    "account-contrast",
    "sign-in",
    "not-found",
    "api",
}
"""`make screenshots` checks every state; here are those whose elements no other one has."""


@pytest.fixture(scope="module")
def filled(service: int) -> int:
    """The port of a service with pictures."""
    fill(service, prompts=("red apple", "fox"), model="limner-gan")
    return service


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A new visitor: a draft of another state would change the page."""
    made = new_context(browser, "light")
    yield made
    made.close()


@pytest.mark.long
@pytest.mark.parametrize("state", [each for each in STATES if each.name in CHECKED], ids=lambda state: state.name)
def test_a_page_has_no_accessibility_violation_in_light_in_dark_and_on_a_phone(
    state: State, filled: int, context: BrowserContext
) -> None:
    assert in_all_modes(open_state(context, filled, state)) == []


CUT = """edge => {
    const isTop = edge === ".top";
    const form = document.querySelector(edge).getBoundingClientRect();
    const {top, bottom} = [...document.querySelectorAll(".act.again")].at(isTop ? 0 : -1).getBoundingClientRect();
    const before = scrollY;
    const by = (top + bottom) / 2 - (isTop ? form.bottom : form.top);
    scrollBy(0, by);
    return scrollY - before - by;
}"""
"""Scrolls so that half of a tile's action is under the header or under the form."""


@pytest.mark.long
@pytest.mark.parametrize("edge", [".top", ".ask"])
def test_a_control_half_under_the_header_or_the_form_is_not_a_small_target(
    edge: str, filled: int, browser: Browser
) -> None:
    short: dict[str, Any] = PHONE | {"viewport": {"width": 390, "height": 420}}
    context = browser.new_context(**short, reduced_motion="reduce")
    page = open_state(context, filled, State("studio", "/", loaded))
    assert abs(page.evaluate(CUT, edge)) < 1
    assert violations(page, SIZES) == []
    context.close()

"""axe-core finds nothing wrong with any state of any page."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.e2e.accessibility import SIZES, in_all_modes, violations
from tests.e2e.states import PHONE, STATES, State, fill, loaded, new_context, open_state


@pytest.fixture(scope="module")
def filled(service: int) -> int:
    """The port of a service with pictures."""
    fill(service, prompts=("red apple", "fox"), model="limner-gan")
    return service


@pytest.mark.long
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_a_page_has_no_accessibility_violation_in_light_in_dark_and_on_a_phone(
    state: State, filled: int, browser: Browser
) -> None:
    with closing(new_context(browser, "light", state)) as context:  # a draft of another state would change the page
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

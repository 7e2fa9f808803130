"""Runs axe-core, the accessibility checker, on a page in each way that people see it."""

from __future__ import annotations

from typing import Any, Final, cast

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.e2e.states import PHONE

AXE: Final = Axe()
STANDARD: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
ALL_RULES: Final[dict[str, Any]] = {"runOnly": {"type": "tag", "values": list(STANDARD)}, "resultTypes": ["violations"]}
COLOURS: Final[dict[str, Any]] = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
"""All that differs between the themes of one page."""
SIZES: Final[dict[str, Any]] = {"runOnly": {"type": "rule", "values": ["target-size"]}, "resultTypes": ["violations"]}


def violations(page: Page, rules: dict[str, Any] = ALL_RULES) -> list[str]:
    """What axe-core finds wrong with the page as it is now, each with the rule, the element and the reason."""
    found: list[dict[str, Any]] = cast("Any", AXE).run(page, options=rules).response["violations"]
    return [f"{each['id']}: {node['html'][:120]} {_reason(node)}" for each in found for node in each["nodes"]]


def in_all_modes(page: Page) -> list[str]:
    """The violations of a page that is open in a light desktop window: there, in dark, and at the width of a phone."""
    found = [f"light: {each}" for each in violations(page)]
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    found += [f"dark: {each}" for each in violations(page, COLOURS)]
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.set_viewport_size(PHONE["viewport"])
    return found + [f"phone: {each}" for each in violations(page)]


def _reason(node: dict[str, Any]) -> str:
    return "; ".join(check["message"] for check in [*node["any"], *node["all"], *node["none"]])

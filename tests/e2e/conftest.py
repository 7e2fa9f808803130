"""One running service and one browser for all tests of doors and pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, expect

from limner_client.local.embedded_valkey import free_port
from limner_shared.settings import OPENAI_NAMES
from tests.e2e.frequent_looks import frequent_looks
from tests.e2e.running import chromium, limner_up
from tests.e2e.visitors import Visitors

expect.set_options(timeout=20_000)  # a loaded machine draws slowly

CARDS = Path(__file__).parents[1] / "models"
EXAMPLE_CARDS = Path(__file__).parents[2] / "examples" / "cards"
GIVEN = ",".join(str(Path(__file__).parent / name) for name in ("tracer.toml", "likeness.toml"))
"""The cards of models that take a control picture and references."""


@pytest.fixture(scope="package")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service as `limner up` starts it, without keys; some of its models take pictures, and clients
    may receive its webhooks on loopback.

    It also serves the example's card, and `sdxl`, which OpenAI's guide names.
    """
    port = free_port()
    models = f"{CARDS},{EXAMPLE_CARDS},{GIVEN}"
    aliases = ",".join([*OPENAI_NAMES, "sdxl=canvas", "39ed52f2a78e=limner-gan"])
    data = tmp_path_factory.mktemp("doors") / "data"
    settings = {"LIMNER_MODELS": models, "LIMNER_MODEL_ALIASES": aliases}
    with limner_up(data, port, **settings, LIMNER_WEBHOOK_INTERNAL_TARGETS="127.0.0.1"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="package")
def service(door: str) -> int:
    """The port of that service."""
    return int(door.rpartition(":")[2])


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A browser. While it runs, a test of this folder runs an event loop with `apart`."""
    with frequent_looks(), chromium() as running:
        yield running


@pytest.fixture(scope="package")
def visitors(browser: Browser) -> Visitors:
    """The visitors of that browser."""
    return Visitors(browser)


@pytest.fixture
def open_page(service: int, visitors: Visitors) -> Iterator[Callable[..., Page]]:
    """Opens a path of the service as a new visitor. An error that a script does not handle fails the test, and so does
    what the pages' content security policy forbids.
    """
    errors: list[str] = []

    def note(error: Error) -> None:  # no method of a list: Playwright marks the function
        errors.append(str(error))

    def note_refusal(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            errors.append(message.text)

    def visit(path: str = "/", *, port: int = service, clock: bool = False, **options: Any) -> Page:
        origin = f"http://127.0.0.1:{port}"
        page = visitors.page(origin, options, clock=clock)
        page.on("pageerror", note)
        page.on("console", note_refusal)
        page.goto(origin + path)
        if options.get("java_script_enabled", True):
            expect(page.locator("[aria-busy=true]")).to_have_count(0)
        return page

    yield visit
    visitors.leave()
    assert errors == []

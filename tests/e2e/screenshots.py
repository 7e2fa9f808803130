"""Takes a picture of every state of every page, and checks each with axe-core: `make screenshots`.

In the other languages, the states are those that are reached without a click, for a wide window and a phone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from playwright.sync_api import BrowserContext, Page

from limner_client.local.embedded_valkey import free_port
from limner_web.pages.languages import LANGUAGES
from tests.e2e.accessibility import violations
from tests.e2e.running import chromium, limner_up
from tests.e2e.states import MODES, PHONE, STATES, State, fill, loaded, new_context, open_state

HERE: Final = Path(__file__).parent
CARDS: Final = (HERE.parent / "models", HERE / "tracer.toml", HERE / "likeness.toml")
MODELS: Final = {"LIMNER_MODELS": ",".join(map(str, CARDS))}
"""One of them takes pictures and masks, one a control picture, and one references."""


def shoot(context: BrowserContext, port: int, state: State, file: Path) -> list[str]:
    """Write a picture of a state; returns what axe-core finds."""
    file.parent.mkdir(parents=True, exist_ok=True)
    page = open_state(context, port, state)
    page.screenshot(path=file)
    found = [f"{file.parent.name}/{state.name}: {each}" for each in violations(page)]
    context.close()
    return found


def main(folder: Path) -> int:
    """Start a service with some pictures and write FOLDER/MODE/STATE.png; returns the number of violations."""
    port, wrong = free_port(), list[str]()
    plain = [state for state in STATES if state.prepare in (Page.title, loaded)]
    with TemporaryDirectory() as data, limner_up(Path(data) / "data", port, **MODELS), chromium() as browser:
        fill(port)
        for language in tuple(LANGUAGES)[1:]:
            for state in plain:
                wide = browser.new_context(locale=language, **MODES["light"], reduced_motion="reduce")
                wrong += shoot(wide, port, state, folder / language / f"{state.name}.png")
                phone = browser.new_context(locale=language, **PHONE, reduced_motion="reduce")
                wrong += shoot(phone, port, state, folder / f"{language}-phone" / f"{state.name}.png")
        for mode in MODES:
            for state in STATES:
                wrong += shoot(new_context(browser, mode, state), port, state, folder / mode / f"{state.name}.png")
    print(f"Wrote the screenshots to {folder}/", *wrong, sep="\n")  # noqa: T201
    return len(wrong)


if __name__ == "__main__":
    sys.exit(bool(main(Path(sys.argv[1] if len(sys.argv) > 1 else "dist/screenshots"))))

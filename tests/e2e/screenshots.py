"""Takes a picture of every state of every page, and checks each with axe-core: `make screenshots`."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.e2e.accessibility import violations
from tests.e2e.running import chromium, limner_up
from tests.e2e.states import MODES, STATES, fill, new_context, open_state

from limner_client.local.embedded_valkey import free_port

MODELS: Final = {"LIMNER_MODELS": str(Path(__file__).parents[1] / "models")}
"""One of them takes pictures and masks."""


def main(folder: Path) -> int:
    """Start a service with some pictures and write FOLDER/MODE/STATE.png; returns the number of violations."""
    port, wrong = free_port(), list[str]()
    with TemporaryDirectory() as data, limner_up(Path(data) / "data", port, **MODELS), chromium() as browser:
        fill(port)
        for mode in MODES:
            (folder / mode).mkdir(parents=True, exist_ok=True)
            for state in STATES:
                context = new_context(browser, mode)
                page = open_state(context, port, state)
                page.screenshot(path=folder / mode / f"{state.name}.png")
                wrong += [f"{mode}/{state.name}: {each}" for each in violations(page)]
                context.close()
    print(f"Wrote {len(MODES) * len(STATES)} screenshots to {folder}/", *wrong, sep="\n")  # noqa: T201
    return len(wrong)


if __name__ == "__main__":
    sys.exit(bool(main(Path(sys.argv[1] if len(sys.argv) > 1 else "dist/screenshots"))))

"""Takes a picture of every state of every page: `make screenshots` writes them to dist/screenshots/."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.e2e.running import chromium, limner_up
from tests.e2e.states import MODES, STATES, fill, new_context, open_state

from limner_client.local.embedded_valkey import free_port


def main(folder: Path) -> None:
    """Start a service with some pictures and write FOLDER/MODE/STATE.png."""
    port = free_port()
    with TemporaryDirectory() as data, limner_up(Path(data) / "data", port), chromium() as browser:
        fill(port)
        for mode in MODES:
            (folder / mode).mkdir(parents=True, exist_ok=True)
            for state in STATES:
                context = new_context(browser, mode)
                page = open_state(context, port, state)
                page.screenshot(path=folder / mode / f"{state.name}.png")
                context.close()
    print(f"Wrote {len(MODES) * len(STATES)} screenshots to {folder}/")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "dist/screenshots"))

"""One service for the tests of all doors: with the built-in models, and one without weights that takes pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.test_up import limner_up

from limner_client.local.embedded_valkey import free_port

CARDS = Path(__file__).parents[1] / "models"


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service as `limner up` starts it, without keys."""
    port = free_port()
    with limner_up(tmp_path_factory.mktemp("doors") / "data", port, LIMNER_MODELS=str(CARDS)):
        yield f"http://127.0.0.1:{port}"

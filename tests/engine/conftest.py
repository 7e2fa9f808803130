"""The built-in model, loaded once."""

from __future__ import annotations

import pytest

from limner_shared.cards import Catalogue
from limner_shared.settings import Settings
from limner_worker.generators.catalogue import load
from limner_worker.generators.latent_flow import LatentFlow


@pytest.fixture(scope="session")
def flow(catalogue: Catalogue) -> LatentFlow:
    """The real model of the package, on the CPU."""
    generator = load(catalogue.get("limner-flow"), Settings(device="cpu"))
    assert isinstance(generator, LatentFlow)
    return generator

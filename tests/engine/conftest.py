"""The built-in model, loaded once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from limner_shared.domain.catalogue import Catalogue
from limner_shared.settings import Settings
from limner_worker.generators.builtin.latent_flow import LatentFlow
from limner_worker.generators.registry import load


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use a temporary cache, so that results of pipeline checks do not outlive the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMNER_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def inference_mode() -> Iterator[None]:
    """Restore the thread's inference mode: a pipeline that is suspended within it leaves it changed."""
    with torch.inference_mode(mode=False):
        yield


@pytest.fixture(scope="session")
def flow(catalogue: Catalogue) -> LatentFlow:
    """The real model of the package, on the CPU."""
    generator = load(catalogue.get("limner-flow"), Settings(device="cpu"))
    assert isinstance(generator, LatentFlow)
    return generator

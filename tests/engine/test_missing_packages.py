"""A model whose packages are missing, do not fit each other or fail is left out with what to do; others are served."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from tests.engine import odd_pipelines

from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.generators.diffusers import pipeline
from limner_worker.generators.diffusers.pipeline_checks import explain
from limner_worker.generators.registry import load

MODULE = "limner_worker.generators.diffusers.pipeline"


class Raising:
    """Finds a module, and raises an error for it."""

    def __init__(self, error: Callable[[], BaseException]) -> None:
        self.error = error

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        if name == MODULE:
            raise self.error()
        return None


def unfitting() -> BaseException:
    """What transformers raises over a torchvision of another build, as a cause of what diffusers raises."""
    error = RuntimeError("Failed to import diffusers.models because of the following error")
    error.__cause__ = ModuleNotFoundError("Could not import module 'BloomPreTrainedModel'.")
    error.__cause__.__cause__ = RuntimeError("operator torchvision::nms does not exist")
    return error


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (unfitting, "odd cannot use diffusers: the installed torchvision was built for another torch"),
        (ImportError, r"odd needs diffusers: pip install 'limner\[diffusers\]'"),
    ],
)
def test_what_keeps_diffusers_from_being_imported_is_said(
    monkeypatch: pytest.MonkeyPatch, error: Callable[[], BaseException], advice: str
):
    monkeypatch.delitem(sys.modules, MODULE)
    monkeypatch.setattr(sys, "meta_path", [Raising(error), *sys.meta_path])
    with pytest.raises(CardError, match=advice):
        load(odd_pipelines.card(Path("nowhere")), Settings(device="cpu"))


def test_a_pipeline_whose_class_is_left_out_names_the_package_and_the_extra():
    error = ImportError("\nKolorsPipeline requires the sentencepiece library but it was not found in your environment.")
    assert explain(error).startswith(
        "it needs the package sentencepiece, which is not installed: pip install 'limner[pipelines]' (KolorsPipeline"
    )
    other = ImportError("StableDiffusionKDiffusionPipeline requires the k-diffusion library but it was not found")
    assert explain(other).startswith("it needs the package k-diffusion, which is not installed (StableDiffusionK")


@pytest.mark.parametrize("error", [KeyError("sigmas"), MemoryError()])
def test_an_error_that_no_check_expects_leaves_the_model_out_but_full_memory_does_not(
    monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(pipeline.DiffusersPipeline, "__init__", fail)
    kind = MemoryError if isinstance(error, MemoryError) else CardError
    with pytest.raises(kind) as raised:
        load(odd_pipelines.card(Path("nowhere")), Settings(device="cpu"))
    assert kind is MemoryError or "odd: nowhere does not work: KeyError: 'sigmas'" in str(raised.value)

"""The GPU suite at toy sizes on the CPU, so that it still runs when a GPU is at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench.gpu import models, parts, summary


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    parts.run(["checks", "flux-schnell"], "cpu", folder, toy=True, seconds=60, sizes=1)
    return folder


def of(results: Path, part: str) -> dict[str, dict[str, Any]]:
    found = json.loads((results / f"{part}.json").read_text())
    assert found["ended"]
    return {each["name"]: each for each in found["results"]}


@pytest.mark.long
def test_every_check_that_needs_no_cuda_passes(results: Path) -> None:
    found = of(results, "checks")
    assert all(each["ok"] is not False for each in found.values()), found
    passed = {name for name, each in found.items() if each["ok"]}
    assert {"equal_to_pipe", "same_bytes", "replay", "canceled_in_the_middle", "memory_is_flat"} <= passed
    assert all(each["skipped"] == "needs CUDA" for each in found.values() if each["ok"] is None)


@pytest.mark.long
def test_a_model_has_figures_of_the_engine_and_of_pipe(results: Path) -> None:
    found = of(results, "flux-schnell")
    assert all(each["ok"] for each in found.values()), found
    rates = found["rates 32x32"]["figures"]["pictures_per_s"]
    assert {"pipe, 1 at a time", "pipe, batches of 8", "engine, 8 concurrent"} <= rates.keys()
    assert all(rate > 0 for rate in rates.values())


@pytest.mark.long
def test_the_summary_has_tables_and_a_plot(results: Path) -> None:
    result = summary.write(results)
    assert result["figures"]["failed"] == []
    assert "| replay | passed |" in (results / "gpu.md").read_text()
    assert (results / "gpu.png").stat().st_size > 1000


def test_a_part_that_fails_is_named(tmp_path: Path) -> None:
    part = parts.Part("sdxl", "cpu", tmp_path)
    nothing: dict[str, Any] = {}
    part.add("load", lambda: nothing["missing"])
    part.end()
    assert summary.write(tmp_path)["figures"]["failed"] == ["sdxl: load"]


@pytest.mark.parametrize("name", models.MODELS)
def test_every_model_has_a_toy_form(name: str) -> None:
    assert models.load(name, "cpu", toy=True).card.name == name

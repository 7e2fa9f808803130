"""docs/pipelines.md is about the installed version of diffusers, and has no pipeline that draws wrongly."""

from __future__ import annotations

import re
from pathlib import Path

import diffusers
import torch
from tests.engine import matrix

TABLE = Path(__file__).parents[2] / "docs/pipelines.md"


def is_left_out(name: str) -> bool:
    """Whether the library leaves a class out, because a package is not installed here."""
    return hasattr(getattr(diffusers, name, None), "_backends")


def test_the_table_is_of_the_installed_version_and_has_each_class() -> None:
    text = TABLE.read_text()
    assert f"with diffusers {diffusers.__version__}. " in text, "run make matrix"
    lines = dict(matrix.LINE.findall(text))
    missing = {name for name in {*matrix.classes()} ^ {*lines} if not is_left_out(name)}
    assert missing == set(), "run make matrix"


def test_the_table_has_no_pipeline_that_draws_wrongly_and_counts_its_lines() -> None:
    text = TABLE.read_text()
    lines = dict(matrix.LINE.findall(text))
    assert [name for name, line in lines.items() if "**" in line] == []
    assert text == matrix.table(lines), "run make matrix"
    assert re.search(rf"Of {len(lines)} classes: ", text)


def test_make_matrix_can_import_a_torchvision_that_was_built_for_another_torch() -> None:
    assert all(hasattr(torch.ops.torchvision, name) for name in matrix.vision_operators.OPERATORS)

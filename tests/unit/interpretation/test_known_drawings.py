"""The table of drawings: one for each name and style, and none of another evaluator."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from limner_worker.networks.weights import WeightsError
from limner_worker.stages.interpretation.presenting.known_drawings import DRAWINGS, KnownDrawings, save_drawings

DRAWN = torch.tensor([[True, True], [True, False], [False, False]])
CONCEPTS = F.normalize(torch.randn(3, 2, 384, generator=torch.Generator().manual_seed(1)), dim=2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_drawings(CONCEPTS, DRAWN, ("noto", "flat"), "tower", tmp_path / DRAWINGS)
    return tmp_path / DRAWINGS


def test_a_picture_is_compared_with_the_drawing_in_its_style(file: Path):
    known, seen = KnownDrawings(file, "tower", 3), CONCEPTS[0, 0].numpy()
    assert known.nearness(seen, [0], "noto") == pytest.approx(1, abs=0.02)
    assert known.nearness(seen, [0], "flat") == pytest.approx(float(CONCEPTS[0, 0] @ CONCEPTS[0, 1]), abs=0.02)


def test_where_a_style_has_no_drawing_the_nearest_of_others_counts(file: Path):
    known = KnownDrawings(file, "tower", 3)
    assert known.nearness(CONCEPTS[1, 0].numpy(), [1], "flat") == pytest.approx(1, abs=0.02)


def test_of_several_names_the_nearest_drawing_counts(file: Path):
    """The last name has no drawing at all, and the second none in this style."""
    known = KnownDrawings(file, "tower", 3)
    assert known.nearness(CONCEPTS[0, 1].numpy(), [2, 1, 0], "flat") == pytest.approx(1, abs=0.02)
    assert known.nearness(CONCEPTS[1, 0].numpy(), [0, 1, 2], "flat") == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("place", "style"), [(2, "noto"), (0, "oil"), (0, None)])
def test_nothing_is_said_without_a_drawing(file: Path, place: int, style: str | None):
    assert KnownDrawings(file, "tower", 3).nearness(CONCEPTS[0, 0].numpy(), [place], style) is None


@pytest.mark.parametrize(("tower", "names"), [("another", 3), ("tower", 4)])
def test_a_table_of_another_evaluator_is_refused(file: Path, tower: str, names: int):
    with pytest.raises(WeightsError, match="another evaluator: run `limner train drawings`"):
        KnownDrawings(file, tower, names)


def test_a_damaged_table_is_refused(file: Path):
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(WeightsError, match="not a file of drawings"):
        KnownDrawings(file, "tower", 3)

"""`limner train drawings` writes where the evaluator sees the drawings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from limner_training import known_drawings
from limner_training.cli import train
from limner_training.data import Drawing, rasterise
from limner_training.tasks.judging import shrunk
from limner_worker.generators.builtin.known_names import save_names
from limner_worker.networks.weights import SHIPPED
from limner_worker.stages.interpretation.presenting.image_recognition import EvaluatorRecognizer
from limner_worker.stages.interpretation.presenting.known_drawings import DRAWINGS

DISC = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><circle cx="4" cy="4" r="4" fill="teal"/></svg>'
SQUARE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path fill="red" d="M0 0h9v9H0z"/></svg>'


def test_the_command_writes_a_table_that_the_evaluator_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = {("1", "noto"): DISC, ("1", "flat"): SQUARE, ("2", "3d"): SQUARE}
    called = {"1": "Disc", "2": "square"}
    drawings = {key: Drawing(key[0], key[1], called[key[0]], (), "Objects") for key in sources}

    def found(_: Path) -> tuple[Any, ...]:
        return drawings, sources, {("1", "flat")}

    monkeypatch.setattr(known_drawings, "true_sources", found)
    folder = tmp_path / "limner-text"
    folder.mkdir()
    for name in ("tower.safetensors", "head.safetensors"):
        (folder / name).symlink_to(SHIPPED / "limner-text" / name)
    save_names(["square", "disc"], torch.eye(2, 384), folder)
    arguments = ["drawings", "--weights", str(tmp_path), "--threads", "1"]
    result = CliRunner().invoke(train, arguments, catch_exceptions=False)
    assert "3 drawings" in result.output
    look = EvaluatorRecognizer(folder)
    blank = np.zeros((64, 64, 3), np.uint8)
    [disc, square, empty] = look.look([shrunk(rasterise(DISC)), shrunk(rasterise(SQUARE)), blank])
    assert look.nearness(disc, "disc", "noto") == pytest.approx(1, abs=0.02)
    assert look.nearness(square, "disc", "flat") == pytest.approx(1, abs=0.02)
    assert look.nearness(square, "square", "noto") == pytest.approx(1, abs=0.02)
    assert look.nearness(empty, "disc", "noto") == 0


def test_the_table_that_ships_is_that_of_the_evaluator_and_has_every_name() -> None:
    table = load_file(SHIPPED / "limner-text" / DRAWINGS)
    drawn = (table["drawings"] != 0).any(2)
    assert drawn.any(1).all()
    assert torch.equal(drawn.sum(0), torch.tensor([1661, 1226, 1594, 1607]))
    EvaluatorRecognizer(SHIPPED / "limner-text")  # which refuses a table of another tower

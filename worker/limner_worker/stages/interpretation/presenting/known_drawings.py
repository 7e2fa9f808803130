"""Where the evaluator's network sees the drawings that the built-in models learned from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor

from limner_worker.networks.weights import WeightsError, write_tensors

DRAWINGS: Final = "drawings.safetensors"
COMPONENTS: Final = 96
"""Principal components that are kept of the network's 384 numbers: their products differ little from the whole ones."""


class KnownDrawings:
    """The concept vectors of the drawings of each name in each style, in principal components of one byte."""

    def __init__(self, file: Path, tower: str, names: int) -> None:
        """Read what `save_drawings` wrote for the tower with this hash. Raises WeightsError."""
        try:
            with safe_open(file, framework="pt") as opened:
                metadata: dict[str, str] = opened.metadata() or {}
                self._styles: list[str] = json.loads(metadata["styles"])
                stored: Tensor = opened.get_tensor("drawings").float()  # [names, styles, components]
                self._basis = opened.get_tensor("basis").float()  # [384, components]
                self._drawings = stored * opened.get_tensor("scale")
        except Exception as error:
            raise WeightsError(f"{file} is not a file of drawings: {error}") from error
        if metadata.get("tower") != tower or len(stored) != names:
            raise WeightsError(f"{file} belongs to another evaluator: run `limner train drawings`")
        self._drawn = (stored != 0).any(2)  # [names, styles]

    def nearness(self, concept: NDArray[np.float32], places: Sequence[int], style: str | None) -> float | None:
        """Return the highest cosine of a picture with the drawings of names (by their places among all) in a style.

        Where that style has no drawing of a name, those of other styles count. None in a style that no drawing has,
        and where no name has a drawing.
        """
        drawn = self._drawn[places]
        if style not in self._styles or not drawn.any():
            return None
        cosines = self._drawings[places] @ (torch.as_tensor(concept) @ self._basis)  # [places, styles]
        number = self._styles.index(style)
        return float(torch.where(drawn[:, number], cosines[:, number], cosines.max(1).values).max())


def save_drawings(concepts: Tensor, drawn: Tensor, styles: Sequence[str], tower: str, file: Path) -> None:
    """Store concept vectors [names, styles, 384] of drawings, where there are such: bool [names, styles]."""
    vectors: Any = concepts[drawn].double()
    linalg: Any = torch.linalg
    basis: Tensor = linalg.eigh(vectors.T @ vectors).eigenvectors[:, -COMPONENTS:].half()  # eigenvalues ascend
    reduced = torch.where(drawn[..., None], concepts @ basis.float(), 0.0)
    scale = reduced.abs().max() / 127
    tensors = {"basis": basis, "drawings": (reduced / scale).round().to(torch.int8), "scale": scale[None]}
    write_tensors(file, tensors, {"styles": json.dumps(list(styles)), "tower": tower})

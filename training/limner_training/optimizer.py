"""Muon for matrices and AdamW for the rest, in float32: fewer samples for the same loss, also on a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    """Momentum whose update of each hidden matrix is made orthogonal (Jordan et al. 2024).

    torch's own `Muon` takes only two-dimensional weights and iterates in bfloat16, which a CPU without it runs
    fifty times slower. The update's size matches AdamW's (Liu et al. 2025, "Muon is scalable"), so that one learning
    rate serves both. Give each group a `matrix` flag: true for weights to make orthogonal (a convolution counts as
    the matrix of its flattened filters), false for AdamW (biases, norms, embeddings, first and last layers).
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, momentum: float = 0.95) -> None:
        super().__init__(
            groups, {"lr": lr, "peak": lr, "momentum": momentum, "betas": (0.9, 0.98), "weight_decay": 0.0}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # torch's returns a loss
        """Update every parameter that has a gradient; `closure` is not supported."""
        if closure is not None:
            raise ValueError("Muon does not support a closure")
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient: Tensor | None = parameter.grad
                if gradient is None:
                    continue
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                update = self._matrix_update if group["matrix"] else self._adam_update
                parameter.add_(update(parameter, gradient, group), alpha=-group["lr"])

    def _matrix_update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(gradient, 1 - group["momentum"])
        nesterov = gradient.lerp(state["momentum"], group["momentum"])
        flat = nesterov.reshape(len(parameter), -1)
        return orthogonalise(flat).mul_(0.2 * math.sqrt(max(flat.shape))).view_as(parameter)

    def _adam_update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        state, (first, second) = self.state[parameter], group["betas"]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].lerp_(gradient.square(), 1 - second)
        count = float(state["step"])
        deviation = (state["square"] / (1 - second**count)).sqrt_().add_(1e-8)
        return state["mean"] / deviation / (1 - first**count)


def orthogonalise(matrix: Tensor, iterations: int = 5, longest: int = 128) -> Tensor:
    """Push the singular values of a matrix [m, n] to about 1 by Newton-Schulz iterations.

    The iterations run on the small Gram matrix, and on blocks of at most `longest` rows of the wide orientation
    (Khaled et al. 2025, "MuonBP"): together a tenth of the usual work, which matters at a CPU's small batches.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    parts = next(k for k in range(-(-len(wide) // longest), len(wide) + 1) if len(wide) % k == 0)
    blocks = wide.reshape(parts, -1, wide.shape[1])
    norms: Tensor = cast("Any", torch.linalg).vector_norm(blocks, dim=(1, 2), keepdim=True)
    blocks = blocks / (norms + 1e-7)
    gram = blocks @ blocks.mT
    identity = torch.eye(gram.shape[1], device=gram.device)
    product = identity.expand_as(gram)
    for _ in range(iterations):
        factor = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315) + 3.4445 * identity
        product = factor @ product
        gram = factor @ (factor @ gram)
        gram = (gram + gram.mT) / 2
    result = (product @ blocks).reshape(wide.shape)
    return result if matrix.shape[0] <= matrix.shape[1] else result.T


def parameter_groups(network: nn.Module, plain: Iterable[nn.Module], weight_decay: float) -> list[dict[str, Any]]:
    """Split trainable parameters for `Muon`: all vectors and the modules `plain` go to AdamW."""
    apart = {id(p) for module in plain for p in module.parameters()}
    trained = [p for p in network.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim > 1 and id(p) not in apart]
    others = [p for p in trained if p.ndim <= 1 or id(p) in apart]
    return [
        {"params": matrices, "matrix": True, "weight_decay": weight_decay},
        {"params": others, "matrix": False, "weight_decay": 0.0},
    ]

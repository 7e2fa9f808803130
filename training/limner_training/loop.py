"""The training loop and its state: a generator that yields after each step, as in smalldiffusion.

Averaging, logging and saving are left to the caller.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from limner_training.optimizer import Muon, parameter_groups
from limner_worker.networks.weights import require_finite, write_tensors


class CheckpointError(RuntimeError):
    """A checkpoint is damaged or belongs to another network."""


@dataclass
class Training:
    """A network in training: weights, averaged weights, optimiser and progress."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    # (step, mean loss since the last entry)
    history: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])


def begin(
    network: nn.Module, learning_rate: float, plain: Iterable[nn.Module] = (), weight_decay: float = 0.01
) -> Training:
    """Wrap a network with its optimiser; the modules `plain` (the first and the last layers) go to AdamW."""
    groups = parameter_groups(network, plain, weight_decay)
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return Training(network, Muon(groups, learning_rate), average)


def run(
    training: Training,
    losses: Callable[[], tuple[Tensor, int]],
    minutes: float,
    warmup: int = 100,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[float]:
    """Train until `minutes` have passed, yielding each step's loss.

    `losses` computes one batch's loss and its number of samples. Matrix products use bfloat16 where the processor
    supports it; weights and optimiser stay in float32 (Muon's Gram matrices diverge in bfloat16). The learning rate
    warms up over the first `warmup` steps of each call (adversarial training is unstable after a jump), stays
    constant, and decays to 1 % over the last third of the time (users know a time limit, not a number of steps).

    Raises:
        FloatingPointError: the loss or its gradient is not finite; the weights are those before that step.
    """
    started = last = clock()
    begun = training.step
    while (spent := clock() - started) < minutes * 60:
        _set_rate(training, (training.step - begun + 1) / warmup, spent / (minutes * 60))
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
            loss, samples = losses()
        _check_finite("loss", value := loss.item(), training.step)
        training.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        _check_finite("gradient", nn.utils.clip_grad_norm_(training.network.parameters(), 1.0).item(), training.step)
        training.optimizer.step()
        now = clock()
        training.step, training.samples = training.step + 1, training.samples + samples
        training.seconds, last = training.seconds + now - last, now
        yield value


def has_bfloat16() -> bool:
    """Return whether this processor multiplies bfloat16 in hardware: two to four times as fast as float32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - torch has no public function for it


def update_average(training: Training, longest: float = 0.999) -> None:
    """Update the averaged weights; the window grows with the step count, so early weights lose influence quickly."""
    decay = min(longest, (1 + training.step) / (10 + training.step))
    current = training.network.state_dict()
    with torch.no_grad():
        for name, value in training.average.items():
            if value.is_floating_point():
                value.lerp_(current[name], 1 - decay)
            else:
                value.copy_(current[name])


def save(training: Training, folder: Path) -> None:
    """Write a checkpoint for `restore` (safetensors and JSON, no pickle).

    Raises:
        FloatingPointError: the weights are not finite; the checkpoint that was there stays.
    """
    tensors = {f"model.{name}": value for name, value in training.network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in training.average.items()}
    for index, state in training.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    require_finite(tensors)
    state = {key: getattr(training, key) for key in ("step", "samples", "seconds", "history")}
    write_tensors(folder / "checkpoint.safetensors", tensors, {"training": json.dumps(state)})


def restore(training: Training, folder: Path) -> bool:
    """Load the checkpoint in `folder`; returns False and changes nothing if there is none.

    Raises:
        CheckpointError: the checkpoint is damaged or belongs to another network.
    """
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return False
    try:
        tensors = load_file(path)
        state = _read_state(path)
        training.network.load_state_dict(_under("model.", tensors))
        _restore_optimizer(training.optimizer, _under("optimizer.", tensors))
    except (SafetensorError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged; delete it to start from scratch") from error
    except RuntimeError as error:
        raise CheckpointError(f"{path} belongs to another network; delete it to start from scratch") from error
    training.average = _under("average.", tensors)
    training.step, training.samples, training.seconds = state["step"], state["samples"], state["seconds"]
    training.history = [(int(step), float(loss)) for step, loss in state["history"]]
    return True


def _check_finite(what: str, value: float, step: int) -> None:
    if not math.isfinite(value):
        raise FloatingPointError(f"the {what} became {value} at step {step}; resume with a lower rate")


def _set_rate(training: Training, warmth: float, progress: float) -> None:
    factor = min(1.0, warmth, max(0.01, (1 - progress) * 3))
    for group in training.optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    content = optimizer.state_dict()
    for name, value in tensors.items():
        index, key = name.split(".")
        content["state"].setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(content)


def _read_state(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        return json.loads((file.metadata() or {})["training"])

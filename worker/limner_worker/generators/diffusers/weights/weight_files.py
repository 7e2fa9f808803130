"""Checks of a folder before its weights are read: no pickle, nothing cut off, no shard missing, no absurd number."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast

from safetensors import SafetensorError, safe_open

from limner_shared.errors import CardError
from limner_worker.generators.model_errors import DamagedWeights, PickledWeights

CONFIGS: Final = ("config.json", "scheduler_config.json")
COUNTED: Final = re.compile("layers|blocks|timesteps")
"""What the names of numbers contain that say how often a part of a model is made."""
LARGEST_COUNT: Final = 100_000
SUFFIX: Final = ".safetensors"
USUAL_NAME: Final = "pytorch_lora_weights.safetensors"
PICKLES: Final = frozenset({".bin", ".ckpt", ".pkl", ".pt", ".pth"})


def refuse_file(path: Path, instead: str) -> None:
    """Raise PickledWeights or CardError if a source's folder is one file; the error names what to give `instead`."""
    if not path.is_file():
        return
    if path.suffix in PICKLES:
        raise PickledWeights(f"{path.name} is a pickle, which can run any code when it is read. {ADVICE}")
    raise CardError(f"{path.name} is a file, and folder must name a folder: {instead}")


def convert(file: Path) -> str:
    """Return how a checkpoint in one file becomes a pipeline's folder."""
    made = f'StableDiffusionXLPipeline.from_single_file("{file.name}").save_pretrained("{file.stem}")'
    return f"make one of it with diffusers, by the class of its base model, such as {made}"


ADVICE: Final = "Convert the weights to safetensors, with diffusers: save_pretrained(folder, safe_serialization=True)."


def adapter_weights(names: Iterable[str], place: str) -> str:
    """Return which of the files in a place, by their paths, has the weights of an adapter. Raises CardError."""
    files = sorted(name for name in names if name.endswith(SUFFIX))
    usual = [name for name in files if PurePosixPath(name).name == USUAL_NAME]
    if len(usual or files) != 1:
        found = ", ".join(files) or "no safetensors"
        raise CardError(
            f"an adapter's folder must hold one file of weights, but {place} holds {found}: copy the file that is "
            "meant into a folder of its own, or into adapter_folder"
        )
    return (usual or files)[0]


def check_files(folder: Path) -> None:
    """Raise PickledWeights or DamagedWeights if a part of a pipeline or an adapter cannot be read or must not be."""
    for place in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        files = sorted(path for path in place.iterdir() if path.is_file())
        safe = [file for file in files if file.suffix == SUFFIX]
        pickled = [file.relative_to(folder).as_posix() for file in files if file.suffix in PICKLES]
        if pickled and not safe:
            raise PickledWeights(
                f"{', '.join(pickled)}: pickled weights, which can run any code when they are read. {ADVICE}"
            )
        for file in safe:
            check_weights(file, file.relative_to(folder).as_posix())
        for file in files:
            if file.name in CONFIGS:
                _check_config(file, file.relative_to(folder).as_posix())
            if file.name.endswith(".safetensors.index.json"):
                _check_index(file, file.relative_to(folder).as_posix())


def _check_config(file: Path, name: str) -> None:
    """Refuse a number of layers or of time steps that would take hours or all memory to build."""
    try:
        config: Any = json.loads(file.read_bytes())
    except (ValueError, OSError) as error:
        raise DamagedWeights(f"{name} is damaged: copy or download it again. ({error})") from error
    for key, count in _counts(config):
        if count > LARGEST_COUNT:
            raise DamagedWeights(f"{name}: {key} is {count}, which no model has: correct it or download it again.")


def _counts(config: Any) -> Iterator[tuple[str, int]]:
    """Yield the whole numbers of a configuration that say how often a part is made, with their names."""
    if not isinstance(config, dict):
        return
    for key, value in cast("dict[str, Any]", config).items():
        if COUNTED.search(key):
            numbers = cast("list[Any]", value) if isinstance(value, list) else [value]
            yield from ((key, number) for number in numbers if type(number) is int)
        yield from _counts(value)


def check_weights(file: Path, name: str) -> None:
    """Read a file's header, which says how long it must be. Raises DamagedWeights."""
    try:
        with safe_open(file, "pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise DamagedWeights(f"{name} is damaged or was cut off: copy or download it again. ({error})") from error


def _check_index(file: Path, name: str) -> None:
    try:
        index: dict[str, Any] = json.loads(file.read_bytes())
        shards = sorted(set(index["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedWeights(f"{name} is damaged: copy or download it again. ({error!r})") from error
    missing = [str(shard) for shard in shards if not (file.parent / str(shard)).is_file()]
    if missing:
        raise DamagedWeights(f"{name} names files that are missing: {', '.join(missing)}.")

"""Checks of a folder's weights before they are read: no pickles, nothing cut off, no shard missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open

from limner_worker.generators.model_errors import DamagedWeights, PickledWeights

PICKLES: Final = frozenset({".bin", ".ckpt", ".pkl", ".pt", ".pth"})


def refuse_pickle(path: Path) -> None:
    """Raise PickledWeights if a source's folder is one file of pickled weights."""
    if path.suffix in PICKLES and path.is_file():
        raise PickledWeights(f"{path.name} is a pickle, which can run any code when it is read. {ADVICE}")


ADVICE: Final = "Convert the weights to safetensors, with diffusers: save_pretrained(folder, safe_serialization=True)."


def check_files(folder: Path) -> None:
    """Raise PickledWeights or DamagedWeights if a part of a pipeline or an adapter cannot be read or must not be."""
    for place in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        files = sorted(path for path in place.iterdir() if path.is_file())
        safe = [file for file in files if file.suffix == ".safetensors"]
        pickled = [file.relative_to(folder).as_posix() for file in files if file.suffix in PICKLES]
        if pickled and not safe:
            raise PickledWeights(
                f"{', '.join(pickled)}: pickled weights, which can run any code when they are read. {ADVICE}"
            )
        for file in safe:
            _check_weights(file, file.relative_to(folder).as_posix())
        for file in files:
            if file.name.endswith(".safetensors.index.json"):
                _check_index(file, file.relative_to(folder).as_posix())


def _check_weights(file: Path, name: str) -> None:
    """Read the header, which says how long the file must be."""
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

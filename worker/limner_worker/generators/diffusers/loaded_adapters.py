"""The LoRA adapters of a card's folder: loaded when an image names them, and unloaded when others need the room."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from limner_shared.adapter_folder import adapters_in, shortened
from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError, RequestUnsupported
from limner_shared.telemetry import get_logger
from limner_worker.generators.base import ImageTask, sha256
from limner_worker.generators.diffusers.adapter_loading import UsedAdapters, adapter_size, load_file, unload
from limner_worker.generators.diffusers.suspended_run import SuspendedRun
from limner_worker.generators.diffusers.weight_files import check_weights

log = get_logger(__name__)

MOST_LOADED: Final = 8
"""How many adapters stay loaded; more, if the images in work use more."""
DIGITS: Final = 24
"""Digits of a file's SHA-256 in the name by which the pipeline knows it."""


class LoadedAdapters:
    """The files that a pipeline has loaded, the least recently used first. For the engine's thread.

    The pipeline knows each by its content, so that a file that was replaced is another adapter, also for the cache of
    encoded texts.
    """

    def __init__(self, pipeline: Any, card: ModelCard, changing: Callable[[], None]) -> None:
        """`changing` is called before the pipeline's layers change."""
        self._pipeline = pipeline
        self._own = card.adapters.keys()
        self._folder = card.adapter_folder
        self._changing = changing
        self._loaded: dict[str, int] = {}  # with their sizes
        self._digests: dict[tuple[Path, int, int], str] = {}
        self.runs: WeakSet[SuspendedRun] = WeakSet()
        """The images that may be in work: what they use stays loaded."""

    @property
    def nbytes(self) -> int:
        """The size of the loaded files' weights in bytes."""
        return sum(self._loaded.values())

    def of(self, task: ImageTask) -> UsedAdapters:
        """Return the adapters of an image, all of them loaded, and note in the task which files they are.

        Raises RequestUnsupported for one that is not in the folder or cannot be used.
        """
        asked = UsedAdapters.of(task.spec)
        if self._folder is None or all(name in self._own for name, _ in asked.loras):
            return asked
        files, loras = adapters_in(self._folder), list[tuple[str, float]]()
        for name, weight in asked.loras:
            if name in self._own:
                loras.append((name, weight))
                continue
            if name not in files:
                there = ", ".join(shortened(list(files))) or "nothing"
                raise RequestUnsupported(f"adapters: {name!r} is not in the folder of adapters; there: {there}.")
            task.adapter_files[name] = digest = self._digest(name, files[name])
            loras.append((self._ready(name, files[name], digest, loras), weight))
        return asked._replace(loras=tuple(loras))

    def _digest(self, name: str, file: Path) -> str:
        try:
            about = file.stat()
            version = file, about.st_mtime_ns, about.st_size
            if version not in self._digests:
                check_weights(file, file.name)
                self._digests[version] = sha256(file)
            return self._digests[version]
        except CardError as error:
            raise RequestUnsupported(f"adapters: {error.message}") from error
        except OSError as error:
            raise RequestUnsupported(f"adapters: {name!r} cannot be read: {error.strerror}.") from error

    def _ready(self, name: str, file: Path, digest: str, others: list[tuple[str, float]]) -> str:
        """Load a file, if it is not loaded, beside the `others` of its image; return its name in the pipeline."""
        known_as = f"file_{digest[:DIGITS]}"
        if known_as not in self._loaded:
            self._changing()
            try:
                load_file(self._pipeline, name, file, known_as)
            except Exception as error:
                with suppress(Exception):  # what was loaded of it before the error
                    unload(self._pipeline, known_as)
                if isinstance(error, CardError):
                    raise RequestUnsupported(f"adapters: {error.message}") from error
                raise
            log.info("adapter loaded", adapter=name, sha256=digest)
        size = self._loaded.pop(known_as, None)
        self._loaded[known_as] = size if size is not None else adapter_size(self._pipeline, known_as)
        self._make_room({known_as, *(other for other, _ in others)})
        return known_as

    def _make_room(self, wanted: set[str]) -> None:
        busy = wanted | {name for run in self.runs for name, _ in run.adapters.loras}
        idle = [name for name in self._loaded if name not in busy]
        for name in idle[: max(0, len(self._loaded) - MOST_LOADED)]:
            self._changing()
            unload(self._pipeline, name)
            del self._loaded[name]

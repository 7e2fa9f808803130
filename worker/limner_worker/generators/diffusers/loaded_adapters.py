"""The LoRA adapters of a card's folder: loaded when an image names them, and unloaded when others need the room."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from limner_shared.adapter_folder import adapter_file, adapters_in, shortened
from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError, RequestUnsupported
from limner_shared.telemetry import get_logger
from limner_worker.generators.base import ImageTask
from limner_worker.generators.diffusers.suspended_run import SuspendedRun
from limner_worker.generators.diffusers.weights.adapter_loading import UsedAdapters, adapter_size, load_file, unload
from limner_worker.generators.diffusers.weights.weight_files import check_weights
from limner_worker.generators.weight_files import sha256

log = get_logger(__name__)

MOST_LOADED: Final = 8
"""How many adapters stay loaded; more, if the images in work use more."""
DIGITS: Final = 24
"""Digits of a file's SHA-256 in the name by which the pipeline knows it."""
TRIES: Final = 3
"""How often a file is read that is replaced while it is read."""

Version = tuple[Path, int, int, int, int]


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
        self._loaded: dict[str, int] = {}  # with their sizes in bytes, the least recently used first
        self._digests: dict[Version, str] = {}
        self.runs: WeakSet[SuspendedRun] = WeakSet()
        """The images that may be in work: what they use stays loaded."""

    @property
    def nbytes(self) -> int:
        """The size of the loaded files' weights in bytes."""
        return sum(self._loaded.values())

    def of(self, task: ImageTask) -> UsedAdapters:
        """Return the adapters of an image, all of them loaded, and note in the task which files they are.

        Raises RequestUnsupported for one that is not in the folder or cannot be used, and ValueError if the task has a
        checkpoint that was drawn with other files.
        """
        asked = UsedAdapters.of(task.spec)
        if self._folder is None or all(name in self._own for name, _ in asked.loras):
            return asked
        loras = list[tuple[str, float]]()
        for name, weight in asked.loras:
            if name in self._own:
                loras.append((name, weight))
                continue
            file = adapter_file(self._folder, name)
            if file is None:
                there = ", ".join(shortened(list(adapters_in(self._folder)))) or "nothing"
                raise RequestUnsupported(f"adapters: {name!r} is not in the folder of adapters; there: {there}.")
            task.adapter_files[name] = digest = self._loaded_file(name, file, loras)
            loras.append((_known_as(digest), weight))
        if task.checkpoint is not None and task.adapter_files != task.checkpoint_adapters:
            raise ValueError("a checkpoint with other adapter files")
        return asked._replace(loras=tuple(loras))

    def _loaded_file(self, name: str, file: Path, others: list[tuple[str, float]]) -> str:
        """Load a file, if it is not loaded, beside the `others` of its image; return its SHA-256."""
        for _ in range(TRIES):
            version = _version(name, file)
            digest = self._digests.get(version, "")
            if _known_as(digest) not in self._loaded:
                # Read before each time that it is loaded: not every store shows by `version` that it was replaced.
                self._digests[version] = digest = _digest(name, file)
                if self._load(name, file, digest) and _version(name, file) != version:
                    self._unload(_known_as(digest))  # another file may have been loaded than was read
                    continue
            self._make_room(_known_as(digest), {other for other, _ in others})
            return digest
        raise RequestUnsupported(f"adapters: {name!r} changes while it is read: send the request again afterwards.")

    def _load(self, name: str, file: Path, digest: str) -> bool:
        """Load a file, if no equal one is loaded; return whether none was."""
        known_as = _known_as(digest)
        if known_as in self._loaded:
            return False
        self._changing()
        try:
            load_file(self._pipeline, name, file, known_as)
        except Exception as error:
            with suppress(Exception):  # what was loaded of it before the error
                unload(self._pipeline, known_as)
            if isinstance(error, CardError):
                raise RequestUnsupported(f"adapters: {error.message}") from error
            raise
        self._loaded[known_as] = adapter_size(self._pipeline, known_as)
        log.info("adapter loaded", adapter=name, sha256=digest)
        return True

    def _unload(self, known_as: str) -> None:
        self._changing()
        unload(self._pipeline, known_as)
        del self._loaded[known_as]

    def _make_room(self, used: str, others: set[str]) -> None:
        """Note the use of an adapter beside others, and unload idle ones if too many are loaded."""
        self._loaded[used] = self._loaded.pop(used)
        busy = {used} | others | {name for run in self.runs for name, _ in run.adapters.loras}
        idle = [name for name in self._loaded if name not in busy]
        for name in idle[: max(0, len(self._loaded) - MOST_LOADED)]:
            self._unload(name)


def _known_as(digest: str) -> str:
    """The name by which the pipeline knows a file."""
    return f"file_{digest[:DIGITS]}"


def _version(name: str, file: Path) -> Version:
    """What changes when a file is replaced, also by one of its size and time. Raises RequestUnsupported."""
    try:
        about = file.stat()
    except OSError as error:
        raise _unreadable(name, error) from error
    return file, about.st_ino, about.st_ctime_ns, about.st_mtime_ns, about.st_size


def _digest(name: str, file: Path) -> str:
    """The SHA-256 of a file, if it is whole. Raises RequestUnsupported."""
    try:
        check_weights(file, file.name)
        return sha256(file)
    except CardError as error:
        raise RequestUnsupported(f"adapters: {error.message}") from error
    except OSError as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: OSError) -> RequestUnsupported:
    return RequestUnsupported(f"adapters: {name!r} cannot be read: {error.strerror}.")

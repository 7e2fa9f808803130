"""The loaded models of a worker: all that fit into its memory, otherwise the most recently used."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from limner_shared import metrics
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.unsupported import UnsupportedByModel
from limner_shared.errors import CardError, LimnerError, OutOfMemory
from limner_shared.telemetry import get_logger
from limner_worker.generators import device_faults
from limner_worker.generators.base import Generator

log = get_logger(__name__)

Load = Callable[[ModelCard], Generator]
LOGGED_CHARS: Final = 500
PER_IMAGE: Final = "apart"
"""In a fingerprint, the calls that are made for one image at a time."""


class ModelCache:
    """A least-recently-used cache of loaded models. After construction, for the engine's thread only.

    Unloading drops the last reference to a model, which frees both device and host memory. Loading it again reads
    the weights files, which the operating system mostly still has in its page cache.
    """

    def __init__(self, cards: Iterable[ModelCard], load: Load, max_bytes: int | None = None) -> None:
        """Load each card's model, to check that it loads and to measure it; leave out those that fail.

        With a limit each model is loaded alone, and those that fit together are then loaded again: the memory never
        holds more than the limit, or one model that is larger. Raises CardError if no model loads.
        """
        self._load = load
        self._max_bytes = max_bytes
        self._loaded: dict[str, Generator] = {}  # least recently used first
        self._sizes: dict[str, int] = {}
        self._first_sizes: dict[str, int] = {}
        """The size of each model when it has just been loaded, without adapters that its requests name."""
        self.loaded: tuple[str, ...] = ()
        """The names of the loaded models, the least recently used first. Safe from any thread."""
        self.load_seconds: dict[str, float] = {}
        """How long each model took to load, at its last load. Safe from any thread."""
        self._loading: tuple[str, float] | None = None
        """The model that is being loaded, and since when."""
        self.cards: dict[str, ModelCard] = {}
        self.unsupported: dict[str, UnsupportedByModel] = {}
        """What each model does not take of requests, although its card does not say so."""
        self.left_out: dict[str, str] = {}
        """The codes of the errors of models that do not load."""
        self.fingerprints: dict[str, dict[str, Any]] = {}
        """What each model is, as it was loaded last: its files may change. Safe from any thread."""
        for card in cards:
            if max_bytes is not None:
                self._unload(list(self._loaded))  # a size is known only after the first load
            try:
                self._load_first(card)
            except Exception as error:  # noqa: BLE001 - the worker serves the others
                failure = _after_failure(error)
                self.left_out[card.name] = failure["code"]
                log.error("model left out", model=card.name, **failure)
        if not self.cards:
            raise CardError("No model could be loaded, so this worker has no work; its log has the reasons.")
        self._load_what_fits()

    def get(self, name: str) -> Generator:
        """Return a loaded model. Raises KeyError if it is not loaded."""
        return self._loaded[name]

    def ensure_loaded(self, name: str, busy: Collection[str]) -> bool:
        """Load a model if needed, unloading others to make room; return False while the busy models leave no room.

        Raises CardError if the model no longer loads, and KeyError if this worker does not serve it.
        """
        generator = self._loaded.pop(name, None)
        if generator is None and not self._make_room(self._sizes[name], busy):
            return False  # not counted: the engine asks again at each turn
        metrics.CACHE_REQUESTS.inc(cache="models", result="miss" if generator is None else "hit")
        if generator is None:
            generator = self._timed_load(self.cards[name])
            log.info("model loaded again", model=name, seconds=round(self.load_seconds[name], 2))
        self._keep(name, generator)
        return True

    def recount(self, name: str, busy: Collection[str]) -> None:
        """Note the size of a model that loads adapters of a folder, and unload idle models that no longer fit."""
        if self.cards[name].adapter_folder is None:
            return  # its size stays; to measure it takes a part of a millisecond
        self._sizes[name] = self._loaded[name].nbytes
        idle = [each for each in self._loaded if each != name and each not in busy]
        while idle and self._max_bytes is not None and self._loaded_bytes() > self._max_bytes:
            self._evict([idle.pop(0)])

    @property
    def findings(self) -> dict[str, Any]:
        """What the loads have shown, by the names of the fields of a worker's report."""
        found = {name: each.get(PER_IMAGE, []) for name, each in self.fingerprints.items()}
        per_image = {name: calls for name, calls in found.items() if calls}
        return {"unsupported": self.unsupported, "per_image": per_image, "left_out": self.left_out}

    @property
    def all_fit(self) -> bool:
        """Whether all models fit into memory together, so that none is ever unloaded."""
        return self._max_bytes is None or sum(self._sizes.values()) <= self._max_bytes

    def staying(self, name: str) -> tuple[str, ...]:
        """Return the loaded models that can stay loaded beside another one, by recency. Safe from any thread."""
        if self._max_bytes is None:
            return self.loaded
        left = self._max_bytes - self._sizes[name]
        sizes = [self._sizes[each] for each in self.loaded]
        first = next((place for place in range(len(sizes)) if sum(sizes[place:]) <= left), len(sizes))
        return self.loaded[first:]

    def stuck_load(self, seconds: float) -> str | None:
        """Return the model whose loading has lasted at least this long, or None. Safe from any thread."""
        loading = self._loading
        return None if loading is None or time.monotonic() - loading[1] < seconds else loading[0]

    def _load_first(self, card: ModelCard) -> None:
        """Load a model for the first time."""
        generator = self._timed_load(card)
        self.cards[card.name] = card
        self._sizes[card.name] = self._first_sizes[card.name] = generator.nbytes
        self._keep(card.name, generator)
        log.info("model loaded", model=card.name)

    def _load_what_fits(self) -> None:
        """Load as many models as fit beside the last one, and count them as less recently used, in the given order."""
        missing = [name for name in reversed(self.cards) if name not in self._loaded]
        for name in missing:
            if self._loaded_bytes() + self._sizes[name] > (self._max_bytes or 0):
                break
            try:
                self._keep(name, self._timed_load(self.cards[name]))
            except Exception as error:  # noqa: BLE001 - it has loaded before, and its first job tries again
                log.error("model not loaded now", model=name, **_after_failure(error))
        self._loaded = {name: self._loaded[name] for name in self.cards if name in self._loaded}
        self.loaded = tuple(self._loaded)

    def _loaded_bytes(self) -> int:
        return sum(self._sizes[name] for name in self._loaded)

    def _timed_load(self, card: ModelCard) -> Generator:
        started = time.monotonic()
        self._loading = card.name, started
        try:
            generator = self._load(card)
        finally:
            self._loading = None
        self.load_seconds[card.name] = time.monotonic() - started
        self._note(card.name, generator)
        return generator

    def _note(self, name: str, generator: Generator) -> None:
        """Note what has been loaded, which is what the receipts of its pictures then say."""
        before, found = self.fingerprints.get(name), generator.fingerprint()
        if before is not None and before != found:
            log.warning("a model's files have changed", model=name)
        self.fingerprints[name] = found
        # The cards of the other families say all that they take.
        self.unsupported[name] = getattr(generator, "unsupported", UnsupportedByModel())

    def _keep(self, name: str, generator: Generator) -> None:
        self._loaded[name] = generator
        self.loaded = tuple(self._loaded)

    def _make_room(self, size: int, busy: Collection[str]) -> bool:
        """Unload the least recently used idle models; a model larger than the limit is loaded alone."""
        if self._max_bytes is None:
            return True
        idle = [name for name in self._loaded if name not in busy]
        left = self._loaded_bytes()
        evicted: list[str] = []
        while idle and left + size > self._max_bytes:
            evicted.append(idle.pop(0))
            left -= self._sizes[evicted[-1]]
        if left and left + size > self._max_bytes:
            return False
        self._evict(evicted)
        return True

    def _evict(self, names: Collection[str]) -> None:
        for name in names:
            log.info("model unloaded to make room", model=name)
        self._unload(names)

    def _unload(self, names: Collection[str]) -> None:
        for name in names:
            del self._loaded[name]
            self._sizes[name] = self._first_sizes[name]
        self.loaded = tuple(self._loaded)
        if names:
            device_faults.release_cached_memory()


def _after_failure(error: Exception) -> dict[str, str]:
    """Free what a failed load took; returns why it failed, for the log. Raises the error of a broken device again."""
    if device_faults.is_device_broken(error):
        raise error
    code = OutOfMemory.code if device_faults.is_out_of_memory(error) else getattr(error, "code", LimnerError.code)
    reason = error.message if isinstance(error, LimnerError) else repr(error)[:LOGGED_CHARS]
    error.__traceback__ = None  # it refers to the tensors
    device_faults.release_cached_memory()
    return {"code": code, "reason": reason}

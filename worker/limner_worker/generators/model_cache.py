"""Which of a worker's models are loaded: all that fit into its memory, and of more, those that were used last."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.telemetry import get_logger
from limner_worker.generators import device_faults
from limner_worker.generators.base import Generator

log = get_logger(__name__)

Load = Callable[[ModelCard], Generator]


class ModelCache:
    """For the engine's thread, once made.

    A model is unloaded by forgetting it, so that a device and the machine both get their memory back; what is loaded
    again comes from the files' pages, which the operating system mostly still has.
    """

    def __init__(self, cards: Iterable[ModelCard], load: Load, max_bytes: int | None = None) -> None:
        """Load each card's model once, to know that it works and how large it is; one that does not is left out.

        Raises CardError if none works.
        """
        self._load = load
        self._max_bytes = max_bytes
        self._loaded: dict[str, Generator] = {}  # the last used stand last
        self._sizes: dict[str, int] = {}
        self.cards: dict[str, ModelCard] = {}
        self.fingerprints: Mapping[str, dict[str, Any]] = {}
        fingerprints: dict[str, dict[str, Any]] = {}
        for card in cards:
            try:
                generator = load(card)
            except CardError as error:
                log.error("model left out", model=card.name, reason=error.message)
                continue
            self.cards[card.name], self._sizes[card.name] = card, generator.nbytes
            fingerprints[card.name] = generator.fingerprint()
            self._make_room(generator.nbytes, busy=())
            self._loaded[card.name] = generator
            log.info("model loaded", model=card.name)
        self.fingerprints = fingerprints
        if not self.cards:
            raise CardError("No model could be loaded, so this worker has nothing to do; the reasons are in its log.")

    def get(self, name: str) -> Generator:
        """A loaded model. Raises KeyError if it is not."""
        return self._loaded[name]

    def ensure_loaded(self, name: str, busy: Collection[str]) -> bool:
        """Have a model loaded, and others unloaded for it as needed; False while those that are busy leave no room.

        Raises CardError if it does not load any more, and KeyError if this worker does not serve it.
        """
        known = self._loaded.pop(name, None)
        if known is None:
            if not self._make_room(self._sizes[name], busy):
                return False
            started = time.monotonic()
            known = self._load(self.cards[name])
            log.info("model loaded again", model=name, seconds=round(time.monotonic() - started, 2))
        self._loaded[name] = known
        return True

    def _make_room(self, size: int, busy: Collection[str]) -> bool:
        """Unload what was not used for longest. A model that is too large for all the room gets it for itself."""
        if self._max_bytes is None:
            return True
        idle = [name for name in self._loaded if name not in busy]
        left = sum(self._sizes[name] for name in self._loaded)
        going: list[str] = []
        while idle and left + size > self._max_bytes:
            going.append(idle.pop(0))
            left -= self._sizes[going[-1]]
        if left and left + size > self._max_bytes:
            return False
        for name in going:
            del self._loaded[name]
            log.info("model unloaded, to make room", model=name)
        if going:
            device_faults.release()
        return True

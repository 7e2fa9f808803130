"""The adapters in the folders of model cards, read on threads: a large folder, or a share that hangs, delays no one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from limner_shared.adapter_folder import adapter_names, check_adapters
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobSpec
from limner_shared.telemetry import get_logger
from limner_web.serving.offload import OffloadPool

log = get_logger(__name__)

ANSWER_SECONDS: Final = 1.0
"""How long a request waits for a folder."""
SILENT_SECONDS: Final = 10.0
"""How long a folder that did not answer is not asked."""


@dataclass(slots=True)
class _Folder:
    """The folder of one card: its thread, its last list, and until when it is not asked."""

    names: tuple[str, ...]
    thread: OffloadPool = field(default_factory=lambda: OffloadPool(1))
    silent_until: float = float("-inf")


class AdapterFolders:
    """Reads the folders of these cards. One that does not answer in time is used as it was listed last."""

    def __init__(self, cards: Iterable[ModelCard]) -> None:
        # Each has a thread of its own: a share that hangs must not keep the threads of the others.
        self._folders = {card.name: _Folder(tuple(card.adapters)) for card in cards if card.adapter_folder is not None}

    def names(self, card: ModelCard) -> list[str]:
        """The adapters that a request may name; see `adapter_folder.adapter_names`."""
        folder = self._folders.get(card.name)
        if folder is None:
            return list(card.adapters)

        def read() -> None:
            folder.names = tuple(adapter_names(card))  # also if it comes too late for this request

        self._ask(card, folder, read)
        return list(folder.names)

    def check(self, card: ModelCard, spec: JobSpec) -> None:
        """Raise InvalidRequest for an unknown adapter; see `adapter_folder.check_adapters`. Nothing is refused where
        the folder does not answer: the worker reads it too.
        """
        folder = self._folders.get(card.name)
        if folder is not None and spec.adapters:
            self._ask(card, folder, lambda: check_adapters(card, spec))

    def _ask(self, card: ModelCard, folder: _Folder, work: Callable[[], None]) -> None:
        if time.monotonic() < folder.silent_until:
            return
        try:
            folder.thread.call_within(ANSWER_SECONDS, work)
        except OSError as error:
            folder.silent_until = time.monotonic() + SILENT_SECONDS
            log.warning("a folder of adapters does not answer", model=card.name, error=repr(error))

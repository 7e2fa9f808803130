"""Folders of adapters that hang, fail or are slow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gevent
import pytest
from tests.processes import eventually
from tests.unit.shared.test_cards import image_card

from limner_shared import adapter_folder
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.errors import InvalidRequest
from limner_web import adapter_folders
from limner_web.adapter_folders import AdapterFolders
from limner_web.serving import offload


@pytest.fixture
def card(tmp_path: Path) -> Any:
    folder = tmp_path / "loras"
    folder.mkdir()
    (folder / "ink.safetensors").touch()
    return image_card(adapter_folder=folder, adapters={"own": {"folder": "own"}})


@pytest.fixture
def hangs(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Under gevent, as in a web process: folders answer only while this event is set."""

    def as_under_gevent(_name: str) -> bool:
        return True

    answers = threading.Event()
    answers.set()
    stat: Callable[..., Any] = Path.stat

    def waits(self: Path, **options: Any) -> Any:
        assert answers.wait(30)
        return stat(self, **options)

    monkeypatch.setattr(offload, "monkey", SimpleNamespace(is_module_patched=as_under_gevent))
    monkeypatch.setattr(adapter_folders, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(adapter_folders, "SILENT_SECONDS", 2.0)
    monkeypatch.setattr(Path, "stat", waits)
    yield answers
    answers.set()


def asks_for(card: Any, name: str) -> JobSpec:
    return card.resolve(JobRequest.model_validate({"prompt": "a", "adapters": [{"name": name}]}))


def refuses(folders: AdapterFolders, card: Any, name: str) -> bool:
    try:
        folders.check(card, asks_for(card, name))
    except InvalidRequest:
        return True
    return False


def test_a_folder_that_hangs_stops_no_other_request_and_keeps_its_last_list(card: Any, hangs: threading.Event):
    folders = AdapterFolders([card])
    assert folders.names(card) == ["own", "ink"]
    with pytest.raises(InvalidRequest, match=r"allowed: own, ink\."):
        folders.check(card, asks_for(card, "oil"))
    hangs.clear()
    asked: Any = cast("Any", gevent).spawn(folders.names, card)
    gevent.sleep(0.05)
    assert not asked.ready(), "another greenlet runs while the folder hangs"
    assert asked.get(timeout=30) == ["own", "ink"]
    silent_until = folders._folders[card.name].silent_until
    assert folders.names(card) == ["own", "ink"]
    folders.check(card, asks_for(card, "oil"))
    assert folders._folders[card.name].silent_until == silent_until, "it was asked again at once"
    hangs.set()
    (card.adapter_folder / "pen.safetensors").touch()
    eventually(lambda: "pen" in folders.names(card))
    eventually(lambda: refuses(folders, card, "oil"))


def test_a_list_that_comes_too_late_for_its_request_is_used_by_the_next(card: Any, hangs: threading.Event):
    folders = AdapterFolders([card])
    hangs.clear()
    assert folders.names(card) == ["own"]
    hangs.set()
    eventually(lambda: folders.names(card) == ["own", "ink"])


def test_a_share_that_fails_refuses_nothing(card: Any, monkeypatch: pytest.MonkeyPatch):
    def stale(_folder: Path) -> tuple[str, ...]:
        raise OSError(116, "Stale file handle")

    folders = AdapterFolders([card])
    monkeypatch.setattr(adapter_folder, "adapters_in", stale)
    assert folders.names(card) == ["own"]
    folders.check(card, asks_for(card, "oil"))

"""A card's folder of adapters: one name is looked up without reading the folder, and its list is kept for a moment."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.shared.test_cards import image_card

from limner_shared.adapter_folder import (
    LISTED_SECONDS,
    LONGEST_NAME,
    MOST_LISTED,
    adapter_file,
    adapter_names,
    adapters_in,
    check_adapters,
)
from limner_shared.domain.jobs import JobRequest
from limner_shared.errors import InvalidRequest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "loras"
    made.mkdir()
    return made


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were read, one for each time."""
    read: list[Path] = []
    original = Path.iterdir

    def noted(self: Path) -> Iterator[Path]:
        read.append(self)
        return original(self)

    monkeypatch.setattr(Path, "iterdir", noted)
    return read


def ask(card: Any, *names: str) -> None:
    request = JobRequest.model_validate({"prompt": "a", "adapters": [{"name": name} for name in names]})
    check_adapters(card, card.resolve(request))


def test_a_request_names_adapters_without_the_folder_being_read(folder: Path, reads: list[Path]):
    (folder / "ink.safetensors").touch()
    card: Any = image_card(adapter_folder=folder, adapters={"own": {"folder": "own"}})
    for _ in range(3):
        ask(card, "ink", "own")
    assert reads == []
    with pytest.raises(InvalidRequest, match=r"'oil' is not allowed here; allowed: own, ink\."):
        ask(card, "oil")


@pytest.mark.parametrize(
    "name", ["", "../secret", "/etc/secret", "sub/ink", "ink\0", "ink\n", "a" * 201, "é" * LONGEST_NAME, "..", "\ud800"]
)
def test_a_name_leads_to_no_file_outside_the_folder(folder: Path, name: str):
    for place in (folder.parent, folder, folder / "sub"):
        place.mkdir(exist_ok=True)
        (place / "secret.safetensors").touch()
        (place / "ink.safetensors").touch()
    assert adapter_file(folder, "ink") == folder / "ink.safetensors"
    assert adapter_file(folder, name) is None
    assert adapters_in(folder) == ("ink", "secret")


def test_a_list_is_kept_until_the_folder_changes_and_only_for_some_seconds(
    folder: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
):
    now = LISTED_SECONDS * 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    (folder / "ink.safetensors").touch()
    os.utime(folder, (1, 1))
    assert [adapters_in(folder) for _ in range(5)] == [("ink",)] * 5
    assert reads == [folder]
    (folder / "oil.safetensors").touch()
    assert adapters_in(folder) == ("ink", "oil")
    (folder / "pen.safetensors").touch()
    os.utime(folder, (1, 1))
    assert adapter_file(folder, "pen") is not None, "it is used at once"
    assert adapters_in(folder) == ("ink",), "a store that does not show the change"
    now += LISTED_SECONDS
    assert adapters_in(folder) == ("ink", "oil", "pen")
    assert adapters_in(folder / "gone") == ()


def test_a_model_lists_the_first_thousand_and_takes_all(folder: Path):
    for number in range(MOST_LISTED + 5):
        (folder / f"ink-{number:04}.safetensors").touch()
    card: Any = image_card(adapter_folder=folder, adapters={"own": {"folder": "own"}})
    assert adapter_names(card) == ["own", *(f"ink-{number:04}" for number in range(MOST_LISTED))]
    ask(card, f"ink-{MOST_LISTED + 4:04}")
    with pytest.raises(InvalidRequest, match="and 906 more"):
        ask(card, "oil")

"""Adapters of a card's folder: their names are known as soon as their files are there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.clients import ApiClient, App
from tests.api.test_input_images import CARD


@pytest.fixture
def app(make_app: Callable[..., App], tmp_path: Path) -> App:
    card = tmp_path / "painter.toml"
    card.write_text(CARD.replace('"null"', '"diffusers"') + 'adapter_folder = "loras"\n')
    return make_app(models=(card,), default_model="painter")


def test_a_file_that_is_added_is_listed_and_accepted_at_once(app: App, client: ApiClient, tmp_path: Path):
    def ask(name: str) -> tuple[int, str, str]:
        answer = client.post("/api/v1/jobs", json={"prompt": "a", "adapters": [{"name": name}]})
        return answer.status_code, answer.json.get("field", ""), answer.json.get("detail", "")

    assert ask("ink")[0] == 202, "another machine may have the folder"
    (tmp_path / "loras").mkdir()
    assert ask("ink") == (422, "adapters", "adapters: 'ink' is not allowed here; allowed: none: the folder is empty.")
    for name in ("ink.safetensors", "oil (v2).safetensors", "pickle.bin"):
        (tmp_path / "loras" / name).touch()
    for name in ("pickle", "../painter", "ink.safetensors", ""):
        assert ask(name)[:2] == (422, "adapters")
    assert "allowed: ink, oil (v2)." in ask("pickle")[2]
    assert ask("ink")[0] == ask("oil (v2)")[0] == 202
    [model] = [each for each in client.get("/api/v1/models").json["items"] if each["name"] == "painter"]
    assert model["adapters"] == ["ink", "oil (v2)"]
    assert [each["name"] for each in client.get("/sdapi/v1/loras").json] == ["ink", "oil (v2)"]
    (tmp_path / "loras" / "ink.safetensors").unlink()
    assert ask("ink")[0] == 422

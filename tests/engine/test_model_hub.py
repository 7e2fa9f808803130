"""Models from a hub: downloaded once, verified, served from the cache, and every trouble explained."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from tests.engine import model_hub, pipelines
from tests.engine.model_hub import REPOSITORY, REVISION, Hub

from limner_client.cli.main import cli
from limner_shared.domain.card_fields import Source
from limner_shared.errors import CardError
from limner_worker.generators.diffusers.weights.hub_files import adapter_files, pipeline_files
from limner_worker.generators.model_errors import (
    CacheFull,
    CacheUnwritable,
    DamagedWeights,
    HubAccessDenied,
    HubUnavailable,
    NotOnHub,
    PickledWeights,
)

SOURCE = Source(hub=REPOSITORY, revision=REVISION)
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pipeline."""
    folder = tmp_path_factory.mktemp("hub")
    pipelines.stable_diffusion(folder / "tokenizer").save_pretrained(folder / "tiny", safe_serialization=True)
    return folder / "tiny"


@pytest.fixture
def hub(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, and an empty cache in `tmp_path/cache`."""
    with model_hub.serving(saved) as serving:
        model_hub.use(serving.endpoint, tmp_path / "cache", monkeypatch)
        yield serving


def refused(kind: type[CardError], source: Source = SOURCE) -> str:
    with pytest.raises(kind) as error:
        pipeline_files(source)
    return error.value.message


def test_a_model_is_fetched_by_a_command_before_a_worker_needs_it(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = tmp_path / "cards"
    cards.mkdir()
    source = f'source = {{ hub = "{REPOSITORY}", revision = "{REVISION}" }}'
    limits = (
        "sizes = [[32, 32]]\nsteps = { min = 1, max = 4, default = 2 }\nguidance = { min = 1, max = 9, default = 5 }"
    )
    (cards / "tiny.toml").write_text(f'name = "tiny"\ntitle = "Tiny"\nfamily = "diffusers"\n{source}\n{limits}')
    monkeypatch.setenv("LIMNER_MODELS", str(cards))
    monkeypatch.setenv("LIMNER_DEFAULT_MODEL", "tiny")
    shown = CliRunner().invoke(cli, ["fetch", "tiny"])
    assert (shown.exit_code, shown.stdout.splitlines()[-1]) == (0, f"tiny: {REPOSITORY}")
    hub.status = 503
    assert CliRunner().invoke(cli, ["fetch"]).exit_code == 0
    shutil.rmtree(tmp_path / "cache")
    refusal = CliRunner().invoke(cli, ["fetch"])
    assert refusal.exit_code == 1
    assert f"Error: {hub.endpoint} cannot be reached" in refusal.stderr


def test_cached_files_are_used_without_the_hub(hub: Hub) -> None:
    folder, hashes = pipeline_files(SOURCE)
    hub.status = 503
    assert pipeline_files(SOURCE) == (folder, hashes)
    assert set(hub.sent.values()) == {1}


def test_without_the_hub_and_without_its_files_the_address_and_the_cache_are_named(hub: Hub, tmp_path: Path) -> None:
    hub.status = 503
    message = refused(HubUnavailable)
    assert hub.endpoint in message
    assert str(tmp_path / "cache") in message


def test_a_hub_that_does_not_answer_is_not_missed_once_the_files_are_there(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = pipeline_files(SOURCE)
    model_hub.use("http://127.0.0.1:9", tmp_path / "cache", monkeypatch)
    assert pipeline_files(SOURCE) == found
    next((tmp_path / "cache").rglob("trees/*")).unlink()  # as in a cache of an earlier release of huggingface_hub
    assert pipeline_files(SOURCE) == found
    model_hub.use("http://127.0.0.1:9", tmp_path / "empty", monkeypatch)
    assert "http://127.0.0.1:9 cannot be reached" in refused(HubUnavailable)


def test_a_gated_repository_names_the_missing_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated = True
    message = refused(HubAccessDenied)
    assert "HF_TOKEN is not set" in message
    assert f"{hub.endpoint}/{REPOSITORY}" in message
    monkeypatch.setenv("HF_TOKEN", "another")
    assert "the account of the token in HF_TOKEN may not read it" in refused(HubAccessDenied)
    monkeypatch.setenv("HF_TOKEN", "allowed")
    assert pipeline_files(SOURCE)[1]


def test_a_refused_token_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "expired")
    hub.status = 403
    assert "refuses the token in HF_TOKEN" in refused(HubAccessDenied)


def test_a_repository_or_a_revision_that_the_hub_lacks_is_named(hub: Hub) -> None:
    assert "HF_TOKEN is not set" in refused(NotOnHub, Source(hub="someone/else", revision=REVISION))
    assert "f" * 40 in refused(NotOnHub, Source(hub=REPOSITORY, revision="f" * 40))


def test_a_file_that_arrives_damaged_is_downloaded_again(hub: Hub) -> None:
    hub.corrupted[UNET] = 1
    _, hashes = pipeline_files(SOURCE)
    assert hub.sent[UNET] == 2
    assert sum(hub.sent.values()) == len(hub.sent) + 1  # nothing else was sent again
    assert len(hashes) == 3


def test_a_file_that_always_arrives_damaged_is_refused(hub: Hub) -> None:
    hub.corrupted[UNET] = 2
    assert UNET in refused(DamagedWeights)
    assert pipeline_files(SOURCE)[1]  # the hub is sound again


def test_a_file_that_was_damaged_in_the_cache_is_downloaded_again(hub: Hub) -> None:
    folder, hashes = pipeline_files(SOURCE)
    blob = (folder / UNET).resolve()
    os.truncate(blob, blob.stat().st_size // 2)
    assert pipeline_files(SOURCE) == (folder, hashes)
    assert hub.sent[UNET] == 2


def test_a_disk_that_fills_keeps_complete_files_and_the_next_start_resumes(hub: Hub, tmp_path: Path) -> None:
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    second_largest = sorted(len(content) for _, content in hub.files())[-2]
    resource.setrlimit(resource.RLIMIT_FSIZE, (second_largest, unlimited[1]))
    try:
        message = refused(CacheFull)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert str(tmp_path / "cache") in message
    assert "HF_HUB_CACHE" in message
    assert list((tmp_path / "cache").rglob("*.incomplete")) == []
    snapshot = next((tmp_path / "cache").rglob("snapshots/*"))
    kept = {name for name, _ in hub.files() if (snapshot / name).exists()}
    assert kept
    assert kept < {name for name, _ in hub.files()}
    before = hub.sent.copy()
    assert pipeline_files(SOURCE)[1]
    assert not kept & set(hub.sent - before)


def test_a_cache_that_cannot_be_written_to_is_not_taken_for_a_hub_that_is_away(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    message = refused(CacheUnwritable)
    assert str(tmp_path / "cache") in message
    assert "HF_HUB_CACHE" in message


def test_a_file_larger_than_the_free_space_is_refused_before_it_fills_the_disk(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")

    def nearly_full(_: object) -> object:
        return usage._replace(free=10_000)

    monkeypatch.setattr(shutil, "disk_usage", nearly_full)
    assert "only has 0.01 MB free" in refused(CacheFull)
    assert hub.sent[UNET] == 0


def test_parts_of_downloads_that_died_are_removed(hub: Hub, tmp_path: Path) -> None:
    blobs = tmp_path / "cache" / "models--someone--tiny" / "blobs"
    blobs.mkdir(parents=True)
    old, new = blobs / "1.incomplete", blobs / "2.incomplete"
    for part in (old, new):
        part.write_bytes(b"x")
    os.utime(old, (0, time.time() - 7200))
    pipeline_files(SOURCE)
    assert not old.exists()
    assert new.exists()


def test_a_repository_of_pickles_is_refused_before_any_of_them_is_downloaded(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(saved, tmp_path / "pickled")
    for file in (tmp_path / "pickled").rglob("*.safetensors"):
        file.rename(file.with_suffix(".bin"))
    with model_hub.serving(tmp_path / "pickled") as hub:
        model_hub.use(hub.endpoint, tmp_path / "cache", monkeypatch)
        assert "Pickles are refused" in refused(PickledWeights)
        assert set(hub.sent) == {"model_index.json"}


def test_of_two_that_need_a_model_one_downloads_it(hub: Hub) -> None:
    hub.held.clear()
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(pipeline_files(SOURCE)[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
    while not hub.sent[UNET]:
        time.sleep(0.01)
    hub.held.set()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert set(hub.sent.values()) == {1}


def test_an_adapter_comes_from_a_hub(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stable_diffusion").symlink_to(saved)
    pipelines.save_lora("stable_diffusion", tmp_path)
    with model_hub.serving(tmp_path / "lora") as hub:
        model_hub.use(hub.endpoint, tmp_path / "cache", monkeypatch)
        assert [file.name for file in adapter_files(SOURCE).iterdir()] == ["pytorch_lora_weights.safetensors"]


def test_only_the_file_of_an_adapter_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loras").mkdir()
    for name in ("pytorch_lora_weights", "step [500]"):
        save_file({"unet.lora_A.weight": torch.zeros(1)}, tmp_path / "loras" / f"{name}.safetensors")
    with model_hub.serving(tmp_path / "loras") as hub:
        model_hub.use(hub.endpoint, tmp_path / "cache", monkeypatch)
        for _ in range(2):
            assert [file.name for file in adapter_files(SOURCE).iterdir()] == ["pytorch_lora_weights.safetensors"]
        assert hub.sent == {"pytorch_lora_weights.safetensors": 1}


def test_a_repository_of_several_adapters_is_refused_before_any_of_them_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loras").mkdir()
    for name in ("ink", "oil"):
        save_file({"unet.lora_A.weight": torch.zeros(1)}, tmp_path / "loras" / f"{name}.safetensors")
    with model_hub.serving(tmp_path / "loras") as hub:
        model_hub.use(hub.endpoint, tmp_path / "cache", monkeypatch)
        for _ in range(2):
            with pytest.raises(CardError, match=r"someone/tiny holds ink\.safetensors, oil\.safetensors"):
                adapter_files(SOURCE)
        assert not hub.sent
        (tmp_path / "loras" / "oil.safetensors").unlink()
        (tmp_path / "loras" / "ink.safetensors").rename(tmp_path / "loras" / "ink [2].safetensors")
        assert [file.name for file in adapter_files(SOURCE).iterdir()] == ["ink [2].safetensors"]


@pytest.mark.long
def test_of_two_workers_that_need_a_model_one_downloads_it(hub: Hub, tmp_path: Path) -> None:
    hub.held.clear()
    code = (
        "from limner_shared.domain.card_fields import Source\n"
        "from limner_worker.generators.diffusers.weights.hub_files import pipeline_files\n"
        f"print(len(pipeline_files(Source(hub={REPOSITORY!r}, revision={REVISION!r}))[1]))"
    )
    surroundings = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": str(tmp_path / "cache")}
    workers = [
        subprocess.Popen([sys.executable, "-c", code], env=surroundings, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        while not hub.sent[UNET]:
            assert all(worker.poll() in (None, 0) for worker in workers)
            time.sleep(0.05)
        hub.held.set()
        assert [worker.communicate(timeout=120)[0].splitlines()[-1] for worker in workers] == ["3", "3"]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert set(hub.sent.values()) == {1}

"""Finding, rasterising and checking the training data, without npm and with small packages."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from limner_training import data

RED = '<path fill="#f00" d="M0 0h64v128H0z"/>'


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")


def write_icons(folder: Path, names: dict[str, str], characters: dict[str, str], aliases: dict[str, Any]) -> None:
    icons = {"width": 128, "height": 128, "icons": {name: {"body": body} for name, body in names.items()}}
    write_json(folder / "icons.json", {**icons, "aliases": aliases})
    write_json(folder / "chars.json", characters)
    write_json(folder / "metadata.json", {"categories": {"Food & Drink": list(names)}})


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    """Four styles with an apple; one also has a flag and a skin tone, one names its icons only by CLDR."""
    folders = {key: tmp_path / key for key in data.PACKAGES}
    apple = {"1f34e": "red-apple"}
    more = {**apple, "1f44b-1f3fb": "waving-light", "1f1eb-1f1f7": "flag-france"}
    write_icons(folders["noto"], dict.fromkeys(more.values(), RED), more, {})
    write_icons(folders["flat"], {"red-apple": RED}, apple, {})
    write_icons(folders["noto-v1"], {"fruit": RED}, {}, {"red-apple": {"parent": "fruit"}})
    assets = folders["3d"] / "assets"
    assets.mkdir(parents=True)
    Image.new("RGBA", (256, 256), (0, 0, 255, 0)).save(assets / "1f34e-fe0f.webp", lossless=True)
    entry = {"default": ["fruit", "red"], "tts": ["red apple"]}
    for key, part, text in (("names", "annotations", "🍎"), ("derived", "annotationsDerived", "👋🏻")):
        write_json(folders[key] / part / "en" / "annotations.json", {part: {"annotations": {text: entry}}})
    return folders


def test_a_concept_is_found_in_every_style_with_its_name(sources: dict[str, Path]) -> None:
    found = [drawing for drawing, _ in data.find_drawings(sources)]
    assert [drawing.style for drawing in found] == list(data.STYLES)
    assert {(d.concept, d.name, d.keywords, d.category) for d in found} == {
        ("1f34e", "red apple", ("fruit", "red"), "Food & Drink")
    }


@pytest.mark.parametrize("concept", ["1f44b-1f3fb", "1f1eb-1f1f7", "1f3f4-e0067-e007f"])
def test_skin_tones_and_flags_are_variants(concept: str) -> None:
    assert data.is_variant(concept)
    assert not data.is_variant("1f34e")


def test_svg_and_webp_are_rasterised_on_white(sources: dict[str, Path]) -> None:
    drawn = {drawing.style: data.rasterise(source) for drawing, source in data.find_drawings(sources)}
    assert drawn["noto"].shape == (256, 256, 3)
    assert drawn["noto"][128, 10].tolist() == [255, 0, 0]
    assert drawn["noto"][128, 250].tolist() == [255, 255, 255]
    assert drawn["3d"].min() == 255  # fully transparent


def test_a_damaged_package_is_named(sources: dict[str, Path]) -> None:
    (sources["noto"] / "chars.json").write_text("{")
    with pytest.raises(data.DataError, match=r"chars\.json is missing or damaged"):
        list(data.find_drawings(sources))


def test_too_few_drawings_are_refused(
    sources: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(package: str, _: Path) -> Path:
        return sources[_key_of(package)]

    monkeypatch.setattr(data, "fetch", fetch)
    with pytest.raises(data.DataError, match="only 4 drawings"):
        data.prepare(tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.npy"))


def _key_of(package: str) -> str:
    return next(key for key, value in data.PACKAGES.items() if value == package)


def test_a_missing_npm_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(data.DataError, match="npm was not found"):
        data.fetch("some@1.0.0", tmp_path)


def test_the_error_of_npm_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: Any) -> None:
        raise subprocess.CalledProcessError(1, "npm", stderr="npm error 404 not found")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(data.DataError, match=r"could not download some@1\.0\.0: npm error 404"):
        data.fetch("some@1.0.0", tmp_path)


def test_a_full_disk_is_reported_before_the_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int = 1_000_000

    def disk_usage(_: object) -> Usage:
        return Usage()

    monkeypatch.setattr(data.shutil, "disk_usage", disk_usage)
    with pytest.raises(data.DataError, match=r"0\.0 GB free, training needs 2\.5 GB"):
        data.prepare(tmp_path)


def test_the_split_is_deterministic_and_the_rest_is_training_data() -> None:
    first = data.split(6_000)
    assert len(np.unique(first)) == 256
    assert np.array_equal(first, data.split(6_000))
    assert not np.array_equal(first, data.split(6_000, seed=1))
    unused: Any = None
    dataset = data.Dataset([unused] * 6_000, unused, unused, first)
    assert sorted([*dataset.training, *first]) == list(range(6_000))


def test_missing_data_names_the_command_that_creates_it(tmp_path: Path) -> None:
    with pytest.raises(data.DataError, match="limner train data"):
        data.load_dataset(tmp_path)


def test_the_cache_folder_is_in_the_one_that_is_set_and_else_follows_xdg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMNER_CACHE_DIR", str(tmp_path / "mine"))
    assert data.cache_folder() == tmp_path / "mine" / "training"
    monkeypatch.delenv("LIMNER_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data.cache_folder() == tmp_path / "limner" / "training"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data.cache_folder() == Path.home() / ".cache" / "limner" / "training"

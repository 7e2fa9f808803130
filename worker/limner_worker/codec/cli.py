"""The commands `limner compress` and `limner decompress`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import numpy as np
from PIL import Image, UnidentifiedImageError

if TYPE_CHECKING:
    from limner_worker.codec.compression import Codec

WEIGHTS: Final = Path(__file__).parents[1] / "models" / "limner-vae" / "autoencoder.safetensors"


@click.command()
@click.argument("picture", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("packed", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--step",
    default=0.25,
    show_default=True,
    help="Rounding step of the latents; larger: smaller file, lower quality.",
)
def compress(picture: Path, packed: Path, step: float) -> None:
    """Compress PICTURE (PNG, JPEG or WebP) to PACKED with the autoencoder limner-vae; print the rate and the PSNR."""
    from limner_worker.codec.compression import CompressionError, psnr  # noqa: PLC0415 - torch takes seconds to import

    codec = _codec()
    try:
        with Image.open(picture, formats=["PNG", "JPEG", "WEBP"]) as opened:
            pixels = np.asarray(opened.convert("RGB"))
        content = codec.pack(pixels, step)
    except (CompressionError, UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise click.ClickException(str(error)) from error
    packed.write_bytes(content)
    height, width = pixels.shape[:2]
    rate = 8 * len(content) / (height * width)
    click.echo(f"{len(content)} bytes, {rate:.2f} bits per pixel, {psnr(pixels, codec.unpack(content)):.2f} dB PSNR")


@click.command()
@click.argument("packed", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("picture", type=click.Path(dir_okay=False, path_type=Path))
def decompress(packed: Path, picture: Path) -> None:
    """Decompress PACKED, a file of `limner compress`, to PICTURE; the suffix selects PNG, JPEG or WebP."""
    from limner_worker.codec.compression import CompressionError  # noqa: PLC0415 - torch takes seconds to import

    try:
        pixels = _codec().unpack(packed.read_bytes())
        Image.fromarray(pixels).save(picture)
    except (CompressionError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{picture}: {pixels.shape[1]}x{pixels.shape[0]}")


def _codec() -> Codec:
    from limner_worker.codec.compression import Codec  # noqa: PLC0415 - torch takes seconds to import
    from limner_worker.networks.autoencoder import Autoencoder  # noqa: PLC0415
    from limner_worker.networks.weights import load_module  # noqa: PLC0415

    return Codec(load_module(Autoencoder, WEIGHTS), hashlib.sha256(WEIGHTS.read_bytes()).hexdigest())

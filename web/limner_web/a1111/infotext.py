"""The `parameters` text of A1111, which describes how a picture was made, in answers and in files."""

from __future__ import annotations

import io
import json
import re
from typing import Any, Final

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from limner_shared.domain.views import ImageView, JobView
from limner_web.pictures.input_images import opened

PNG_KEY: Final = "parameters"
XMP_KEY: Final = "XML:com.adobe.xmp"
EXIF_IFD: Final = 0x8769
USER_COMMENT: Final = 0x9286
UNICODE: Final = b"UNICODE\x00"
"""How a user comment in UTF-16 begins (Exif 3.0, 4.6.6)."""
PARAMETER: Final = re.compile(r'\s*+([\w ./-]+):\s*+("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
"""A name and its value. The possessive quantifiers keep the time linear in the text, which any client may send."""
NEGATIVE: Final = "Negative prompt:"
MAX_SETTINGS_CHARS: Final = 20_000
"""A longer last line is not read as settings."""


def infotext(job: JobView, image: ImageView, scaled_to: tuple[int, int] | None = None) -> str:
    """The text for one picture of a job, which the answer has in the size `scaled_to`, or as it is stored."""
    width, height = scaled_to or (image.width, image.height)
    settings: dict[str, Any] = {
        "Steps": job.steps,
        "Sampler": job.scheduler or "Automatic",
        "CFG scale": f"{job.guidance:g}",
        "Seed": image.seed,
        "Size": f"{width}x{height}",
        "Model": job.model,
        "Style": image.style,
        "Denoising strength": job.strength,
        "Version": "Limner",
    }
    lines = [job.prompt]
    if job.negative_prompt:
        lines.append(f"{NEGATIVE} {job.negative_prompt}")
    lines.append(", ".join(f"{name}: {_quote(value)}" for name, value in settings.items() if value is not None))
    return "\n".join(lines)


def parse(text: str) -> dict[str, Any]:
    """The fields of such a text. Text in another form counts as the prompt."""
    *lines, last = text.strip().split("\n")
    settings = _settings(last) if len(last) <= MAX_SETTINGS_CHARS else {}
    if "Steps" not in settings:
        lines, settings = [*lines, last], {}
    prompt, _, negative = "\n".join(lines).partition(NEGATIVE)
    return {"Prompt": prompt.strip(), "Negative prompt": negative.strip()} | settings


def _settings(line: str) -> dict[str, str]:
    """The settings in the last line of a text. What is none, up to the next comma, is left out."""
    found: dict[str, str] = {}
    place = 0
    while place < len(line):
        parameter = PARAMETER.match(line, place)
        if parameter is None:
            place = line.find(",", place) + 1 or len(line)
            continue
        found[parameter[1].strip()] = _unquote(parameter[2])
        place = parameter.end()
    return found


def as_file(stored: bytes, kind: str, text: str | None) -> bytes:
    """A stored PNG as a file of another `kind` (`png`, `jpeg`, `webp`), with the text in it if one is given.

    Its provenance data is kept.
    """
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(stored), formats=["PNG"]) as picture:
        xmp = picture.info.get(XMP_KEY)
        if kind == "png":
            info = PngInfo()
            if isinstance(xmp, str):
                info.add_itxt(XMP_KEY, xmp)
            info.add_text(PNG_KEY, text or "")
            picture.save(buffer, "PNG", compress_level=4, pnginfo=info)
        else:
            exif = Image.Exif()
            if text is not None:
                exif.get_ifd(EXIF_IFD)[USER_COMMENT] = UNICODE + text.encode("utf-16-be")
            extra: dict[str, Any] = {"xmp": xmp.encode()} if isinstance(xmp, str) else {}
            picture.convert("RGB").save(buffer, kind.upper(), quality=92, exif=exif, **extra)
    return buffer.getvalue()


def text_in(file: bytes) -> tuple[str, dict[str, str]]:
    """The parameters text of a picture file, empty if it has none, and its other texts. Raises InvalidRequest."""
    with opened(file, "image") as picture:
        texts = {str(name): value for name, value in picture.info.items() if isinstance(value, str)}
        comment = picture.getexif().get_ifd(EXIF_IFD).get(USER_COMMENT)  # decodes a whole PNG
    text = texts.pop(PNG_KEY, "")
    if not text and isinstance(comment, bytes) and comment.startswith(UNICODE):
        text = comment.removeprefix(UNICODE).decode("utf-16-be", errors="replace")
    return text, texts


def _quote(value: object) -> str:
    """A value as A1111 writes it: in JSON's quotes if it has a character that separates values."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r"[,:\n]", text) else text


def _unquote(value: str) -> str:
    if not value.startswith('"'):
        return value.strip()
    try:
        return str(json.loads(value))
    except ValueError:
        return value

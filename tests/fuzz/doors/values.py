"""Values for requests: usual ones, those that have broken parsers elsewhere, and bodies with some of both."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Collection, Mapping
from pathlib import PurePath
from typing import Any, Final, cast

from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

Body = dict[str, Any]


def picture(text: str = "", kind: str = "PNG", size: tuple[int, int] = (64, 64)) -> bytes:
    """A picture file; a PNG with this text in its chunk `parameters`."""
    info, buffer = PngInfo(), io.BytesIO()
    if text:
        info.add_text("parameters", text)
    extra: dict[str, Any] = {"pnginfo": info} if kind == "PNG" else {}
    Image.new("RGBA" if kind == "PNG" else "RGB", size).save(buffer, kind, **extra)
    return buffer.getvalue()


def stripped(text: str) -> str:
    """A text without the whitespace at its ends, as Unicode knows it; `str.strip` also takes U+001C to U+001F."""
    space = "".join(each for each in map(chr, range(0x3001)) if each.isspace() and not "\x1c" <= each <= "\x1f")
    return text.strip(space)


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


GOOD_PICTURES: Final = (picture(), picture(kind="JPEG"), picture(kind="WEBP"))
BAD_PICTURES: Final = (
    b"",
    b"\x89PNG\r\n\x1a\n",
    picture()[:-20],
    picture("a" + " " * 20_000 + "b"),
    picture("Steps: " + '"\\' * 3_000),
    picture("\n" * 5_000 + "Negative prompt:" * 2_000),
    picture()[:40] + b"\xff" * 40 + picture()[80:],
    picture(kind="JPEG")[:200],
    picture(kind="WEBP").replace(b"VP8", b"VP9"),
    b"II*\x00" + b"\xff" * 64,
    b"GIF89a" + b"\x00" * 64,
    b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    picture().replace(b"IDAT", zlib.compress(b"x" * 99)[:4]),
    picture(size=(9000, 1)),
)
BAD_URLS: Final = (
    *("http://[::1", "https://[", "https://shop.example:99999999/", "https://127.0.0.1/", "https://x\\@127.0.0.1/"),
    *("file:///etc/passwd", "data:image/png;base64,é", "data:image/png;base64,A", "data:,", "data:image/png;base64,"),
    *("http://169.254.169.254/replicate/v1/files/file_x", "https://a.example/api/v1/images/img_0", "//evil.example/"),
)
BAD_TEXTS: Final = (
    *("", " ", "\x00", "\ud800", "a\x00b", "\ufeff", "\u202e\u2066", "\r\nSet-Cookie: a=b", "null", "[]", "{}", "true"),
    *("nan", "inf", "-1", "1e999", "१२", "1_0", "0x10", "../../../etc/passwd", "%00", "%s%n", "{{7*7}}", "${7*7}"),
    *("' OR 1=1 --", "<script>alert(1)</script>", "<lora:x:nan>", "<lora:x:" + ":" * 500, "a" * 30_000, "🦊" * 11_000),
    *("256x256", "99999x99999", "0x0", "256X256", "gpt-image-1", "limner-flow", "e\u0301" * 300, "\U0010ffff"),
)
BAD_NUMBERS: Final = (
    *(0, -1, 1, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 0.1, -0.0, 1e-320, 1e308),
    *(float("nan"), float("inf")),
)
NAMES: Final = ("__proto__", "", "a" * 200, "a.b[0]", "\x00", "ключ", "prompt ", "Prompt", "$ref", "metadata", "n")


def deep(levels: int) -> list[Any]:
    """A list in a list in a list."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


anything: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(BAD_NUMBERS),
    st.sampled_from((*BAD_TEXTS, *BAD_URLS)),
    st.sampled_from([data_url(each) for each in (*GOOD_PICTURES, *BAD_PICTURES)]),
    st.sampled_from([deep(3), deep(40), deep(300), {}, [], [None], {"a": {"b": []}}, [[]] * 3, {"file_id": 1}]),
    st.text(max_size=8),
    st.integers(),
    st.floats(),
)
prompts = st.one_of(st.sampled_from(("a red apple", "two foxes", "ein Haus")), st.text(min_size=1, max_size=12))


@st.composite
def bodies(
    draw: st.DrawFn,
    usual: Mapping[str, st.SearchStrategy[Any]],
    required: Collection[str],
    schema: st.SearchStrategy[Any] | None = None,
) -> Body:
    """A body of usual values, with some of the schema's, and in one of three cases something hostile."""
    body: Body = {}
    if schema is not None and draw(st.integers(0, 3)) == 0:
        given = cast("Body", draw(schema))
        body = {name: value for name, value in given.items() if draw(st.booleans())}
    for name, values in usual.items():
        if name in required or draw(st.integers(0, 6)) == 0:
            body[name] = draw(values)
    if draw(st.integers(0, 2)) == 0:
        for _ in range(draw(st.integers(1, 2))):
            _spoil(draw, body)
    return cast("Body", plain(body))


def _spoil(draw: st.DrawFn, body: Body) -> None:
    name = draw(st.sampled_from([*sorted(body), *NAMES]))
    if draw(st.integers(0, 4)) == 0:
        body.pop(name, None)
    else:
        body[name] = draw(anything)


def plain(value: Any) -> Any:
    """A value of a client's types as JSON has it: files as data URLs, tuples as lists."""
    match value:
        case bytes():
            return data_url(value)
        case PurePath():
            return str(value)
        case dict():
            return {str(name): plain(each) for name, each in cast("Body", value).items()}
        case list() | tuple() | set() | frozenset():
            return [plain(each) for each in cast("list[Any]", value)]
        case str() | int() | float() | bool() | None:
            return value
        case _:
            return str(value)

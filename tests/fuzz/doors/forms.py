"""The operations of agents' tools and of the pages' forms."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from hypothesis import strategies as st

from limner_client.client import Client
from limner_client.mcp_server.server import build
from tests.fuzz.doors import values
from tests.fuzz.doors.openai import IDS, REFERENCES, SOURCES, Operation
from tests.fuzz.doors.requests import Request
from tests.fuzz.doors.values import Body, bodies

MCP_PATH: Final = "/mcp"
MCP_HEADERS: Final = {"Accept": "application/json, text/event-stream"}
USUAL_ARGUMENTS: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "prompt": values.prompts,
    "job_id": st.sampled_from(("@own.job@", "@other.job@", "job_0")),
    "image": SOURCES,
    "mask": SOURCES,
    "model": st.sampled_from(("limner-gan", "limner-flow", "collage", "x")),
    "reference_images": REFERENCES,
    "size": st.sampled_from(("256x256", "64x64", "0x0", "00000x00000")),
    "n": st.integers(1, 2),
    "steps": st.integers(1, 4),
    "wait_seconds": st.integers(0, 1),
    "cursor": IDS,
}


def _tools() -> dict[str, dict[str, Any]]:
    """The schemas of the arguments of each tool, as agents see them."""
    server = build(lambda _ctx: Client("http://127.0.0.1:1"))
    return {tool.name: tool.input_schema for tool in asyncio.run(server.list_tools())}


def _of_schema(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values of the simple schemas that tools have."""
    kinds = [each.get("type") for each in schema.get("anyOf", (schema,))]
    least, most = schema.get("minimum", 0), schema.get("maximum", 5)
    known: dict[Any, st.SearchStrategy[Any]] = {
        "string": st.text(max_size=9),
        "integer": st.integers(least, most),
        "number": st.floats(0, 1),
        "boolean": st.booleans(),
        "null": st.none(),
        "array": st.lists(st.text(max_size=9), max_size=2),
    }
    return st.one_of([known[kind] for kind in kinds])


TOOLS: Final = _tools()


@st.composite
def tool_calls(draw: st.DrawFn) -> Request:
    name = draw(st.sampled_from((*TOOLS, "generate_image", "generate_image", "x")))
    schema = TOOLS.get(name, {"properties": {}})
    usual = {each: USUAL_ARGUMENTS.get(each, _of_schema(part)) for each, part in schema["properties"].items()}
    arguments = draw(bodies(usual, schema.get("required", ())))
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    makes = name in ("generate_image", "edit_image")
    return Request("POST", MCP_PATH, call, headers=MCP_HEADERS, makes_job=makes, needs=tuple(usual))


@st.composite
def mcp_messages(draw: st.DrawFn) -> Request:
    """Messages that are not those of the protocol."""
    names = st.sampled_from(("tools/list", "tools/call", "initialize", "ping", "resources/read", "x", ""))
    nothing: dict[str, Any] = {}
    usual: dict[str, st.SearchStrategy[Any]] = {"jsonrpc": st.just("2.0"), "id": st.integers(0, 9), "method": names}
    usual["params"] = st.just(nothing)
    message = draw(st.one_of(bodies(usual, ("jsonrpc", "method")), values.anything))
    method = draw(st.sampled_from(("POST", "POST", "DELETE", "PUT")))  # a GET is a stream that never ends
    return Request(method, MCP_PATH, values.plain(message), headers=MCP_HEADERS)


FORM: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "prompt": values.prompts,
    "model": st.sampled_from(("limner-gan", "limner-flow")),
    "style": st.sampled_from(("", "flat", "x")),
    "size": st.sampled_from(("256x256", "64x64", "x", "256x", "nanxnan")),
    "n": st.sampled_from(("1", "2", "1.5", "१", "1_0", "-1")),
    "seed": st.sampled_from(("", "7", "4294967296", "x")),
    "steps": st.sampled_from(("1", "4", "1e3", "0")),
    "guidance": st.sampled_from(("1", "2.5", "nan", "inf", "-inf", "1e400")),
    "negative_prompt": st.text(max_size=4),
    "description": st.text(max_size=4),
}


def _texts(body: Body) -> dict[str, str]:
    return {name: value if isinstance(value, str) else repr(value)[:5_000] for name, value in body.items()}


@st.composite
def drawings(draw: st.DrawFn) -> Request:
    form = _texts(draw(bodies(FORM, ("prompt",))))
    return Request("POST", "/draw", form=form, makes_job=True, needs=tuple(FORM), headers={"Accept": "text/html"})


@st.composite
def page_forms(draw: st.DrawFn) -> Request:
    """The forms beside the studio's, and the pages that show something of their request."""
    bad = st.sampled_from((*values.BAD_TEXTS, *values.BAD_URLS))
    fields = {"key": bad, "next": st.one_of(st.just("/gallery"), bad), "language": st.sampled_from(("de", "x", ""))}
    form = _texts(draw(bodies(fields, ("next", "language"))))
    method, path = draw(
        st.sampled_from(
            (
                ("POST", "/session"),
                ("POST", "/session/end"),
                ("POST", "/language"),
                ("GET", "/sign-in"),
                ("GET", "/jobs/@own.job@"),
                ("GET", "/jobs/@other.job@"),
                ("GET", "/gallery"),
                ("GET", "/"),
            )
        )
    )
    headers = {"Accept": "text/html"} | draw(
        st.sampled_from(({}, {"Origin": "http://[::1"}, {"Origin": "https://evil.example"}, {"Cookie": "theme=\xff"}))
    )
    if method == "GET":
        short = {name: value for name, value in form.items() if len(value) < 5_000 and "\ud800" not in value}
        return Request(method, path, query=short, headers=headers)
    return Request(method, path, form=form, headers=headers)


OPERATIONS: Final[Mapping[str, Operation]] = {
    "agents' tools": tool_calls(),
    "agents' messages": mcp_messages(),
    "the studio's form": drawings(),
    "forms of other pages": page_forms(),
}

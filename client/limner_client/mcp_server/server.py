"""Builds the MCP server, and serves it on stdio or as streamable HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

import anyio
import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import ToolAnnotations
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from limner_client.client import Client
from limner_client.mcp_server.strict_tool import StrictTool
from limner_client.mcp_server.tools import Caller, Connect, Tools
from limner_shared.settings import is_loopback

PATH: Final = "/mcp"
MAX_BODY_BYTES: Final = 16 << 20
"""As the HTTP API's: a picture and a mask as data URLs are the largest part of a call."""
INSTRUCTIONS: Final = (
    "Draws pictures. Call list_models for sizes and styles, then generate_image. An answer whose `finished` is false"
    " names a job: call get_job with its id and wait_seconds until it has finished. search_images finds earlier ones."
)


def build(connect: Connect, caller: Caller = lambda _: None) -> MCPServer:
    """The server with its tools; `connect` makes the client for each call, and `caller` tells whose call it is."""
    tools = Tools(connect, caller)
    reads, draws = ToolAnnotations(read_only_hint=True), ToolAnnotations(destructive_hint=False)
    offered = [StrictTool.from_function(each, annotations=draws) for each in (tools.generate_image, tools.edit_image)]
    offered += [
        StrictTool.from_function(each, annotations=reads)
        for each in (tools.get_job, tools.search_images, tools.list_models)
    ]
    known = version("limner")
    return MCPServer("limner", instructions=INSTRUCTIONS, version=known, tools=offered, log_level="WARNING")


def serve_stdio(url: str, key: str | None) -> None:
    """Serve one agent on stdin and stdout until stdin ends."""
    build(lambda _: Client(url, key)).run("stdio")


def serve_http(url: str, host: str, port: int) -> None:
    """Serve agents at PATH until interrupted. Each call uses the API key that it carries, never one of this process."""
    config = uvicorn.Config(http_app(url, host), host=host, port=port, log_level="warning")
    anyio.run(uvicorn.Server(config).serve)


def http_app(url: str, host: str) -> ASGIApp:
    """The ASGI application for a server that listens on `host`.

    On loopback only pages and programs of this machine may call it, as with the service itself. Elsewhere each request
    has to carry a key, which the service checks: without that, an open service would be reachable from other machines.
    """

    def key(ctx: Context) -> str | None:
        return key_of(ctx.headers or {})

    server = build(lambda ctx: Client(url, key(ctx)), key)
    loopback = is_loopback(host)
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        max_request_body_size=MAX_BODY_BYTES,
        transport_security=None if loopback else TransportSecuritySettings(enable_dns_rebinding_protection=False),
        host=host,
    )
    return app if loopback else RequireKey(app)


def key_of(headers: Mapping[str, str]) -> str | None:
    """The bearer token of a request, or None."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


class RequireKey:
    """Refuses HTTP requests that carry no bearer token."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] != "http" or key_of(Headers(scope=scope)) is not None:
            await self._app(scope, receive, send)
            return
        error: dict[str, Any] = {"code": "unauthorized", "message": "Send the API key as `Authorization: Bearer KEY`."}
        answer = JSONResponse(error, 401, headers={"WWW-Authenticate": "Bearer"})
        await answer(scope, receive, send)

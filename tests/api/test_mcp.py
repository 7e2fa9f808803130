"""`limner mcp --http` uses each caller's own key, and its own for none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent

from limner_client.local.embedded_valkey import free_port
from limner_shared.db.engine import Database
from limner_shared.settings import Settings
from tests.api.test_keys import make_key
from tests.e2e.test_mcp import mcp_over_http
from tests.processes import Service


@pytest.fixture
def protected(settings: Settings, database_url: str, database: Database, tmp_path: Path) -> Iterator[Service]:
    """`limner serve` with required keys."""
    changes = {"database_url": database_url, "port": free_port(), "web_workers": 1, "require_keys": True}
    service = Service(settings.model_copy(update=changes), database, tmp_path)
    service.start_web()
    yield service
    service.stop()


def first_line(url: str, headers: dict[str, str], tool: str, **arguments: Any) -> str:
    """What a tool answers to a caller with these headers."""

    async def run() -> str:
        async with (
            httpx2.AsyncClient(headers=headers, timeout=30) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            [content, *_] = (await client.call_tool(tool, arguments)).content
        assert isinstance(content, TextContent)
        return content.text

    return asyncio.run(run())


def test_each_caller_acts_with_its_own_key(protected: Service, database: Database):
    reader, submitter = make_key(database, "ours", "read"), make_key(database, "ours")
    with mcp_over_http(f"http://127.0.0.1:{protected.settings.port}") as origin:
        url = f"{origin}/mcp"
        assert "unauthorized: " in first_line(url, {}, "list_models")
        assert "unauthorized: " in first_line(url, {"Authorization": "Bearer lmn_x"}, "list_models")
        assert '"limner-flow"' in first_line(url, reader, "list_models")
        drawing = {"prompt": "a cat", "wait_seconds": 0}
        assert "submit_scope_required: " in first_line(url, reader, "generate_image", **drawing)
        assert '"queued"' in first_line(url, submitter, "generate_image", **drawing)
        part = {"prompt": "a cat", "image": "data:,", "mask": "data:,"}
        refused = first_line(url, submitter, "edit_image", **part)
        assert "No model of this service has the task inpainting" in refused

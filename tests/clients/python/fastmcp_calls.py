"""Calls each tool of `limner mcp` with fastmcp's client, and prints what came back as JSON."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from typing import Any

from fastmcp import Client
from fastmcp.exceptions import ToolError

url, png = f"{sys.argv[1]}/mcp", sys.argv[2]
small = {"model": "limner-gan", "size": "64x64"}


def signatures(answer: Any) -> list[str]:
    """The first letters of the files of an answer's pictures."""
    return [base64.b64decode(part.data)[1:4].decode() for part in answer.content if part.type == "image"]


async def refusals(client: Client[Any]) -> list[str]:
    """What the tools say to calls that they refuse, each by its code."""
    told: list[str] = []
    for name, arguments in (
        ("generate_image", {"prompt": "x", "size": "3x3"}),
        ("generate_image", {"prompt": "x", "width": 64}),
        ("get_job", {"job_id": "job_none"}),
        ("edit_image", {"prompt": "x", "image": "nothing"}),
        ("no_such_tool", {}),
    ):
        try:
            await client.call_tool(name, arguments)
        except ToolError as error:
            told.append(str(error))
    return told


async def main() -> None:
    found: dict[str, Any] = {"progress": []}

    async def note(progress: float, total: float | None, message: str | None) -> None:
        found["progress"].append((progress, total, message))

    async with Client(url) as client:
        found["tools"] = [tool.name for tool in await client.list_tools()]
        found["others"] = [len(await client.list_resources()), len(await client.list_prompts())]
        models = (await client.call_tool("list_models", {})).structured_content["models"]
        found["models"] = [model["name"] for model in models]

        drawn = await client.call_tool("generate_image", {"prompt": "a walrus in fastmcp", "n": 2, **small})
        found["drawn"] = [drawn.data.status, drawn.data.finished, signatures(drawn)]
        picture = drawn.structured_content["pictures"][0]["id"]
        searched = await client.call_tool("search_images", {"query": "walrus", "limit": 1})
        found["searched"] = searched.structured_content["jobs"][0]["job_id"] == drawn.structured_content["job_id"]

        edited = await client.call_tool("edit_image", {"prompt": "a boat", "image": picture, "model": "canvas"})
        found["edited"] = [edited.data.status, signatures(edited)]
        given = {"prompt": "a boat", "image": f"data:image/png;base64,{png}", "model": "canvas"}
        found["given"] = signatures(await client.call_tool("edit_image", given))

        slow = {"prompt": "x", "model": "null", "steps": 100, "wait_seconds": 0}
        started = (await client.call_tool("generate_image", slow)).structured_content
        ended = await client.call_tool(
            "get_job", {"job_id": started["job_id"], "wait_seconds": 30}, progress_handler=note
        )
        found["later"] = [started["finished"], ended.data.finished, signatures(ended)]
        found["refused"] = await refusals(client)
        together = await asyncio.gather(*(client.call_tool("generate_image", {"prompt": "y", **small}) for _ in "abcd"))
        found["together"] = [answer.data.status for answer in together]
    sys.stdout.write(json.dumps(found))


asyncio.run(main())

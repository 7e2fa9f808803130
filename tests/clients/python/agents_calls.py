"""Draws with OpenAI's Agents SDK, and prints what came back as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import openai
from agents import (
    Agent,
    ImageGenerationTool,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    set_tracing_disabled,
)

origin = sys.argv[1]
client = openai.AsyncOpenAI(base_url=f"{origin}/v1", api_key="unused", max_retries=0)
tool = ImageGenerationTool(tool_config={"type": "image_generation", "size": "64x32"})
artist: Agent[Any] = Agent(
    name="artist", instructions="Draw.", model=OpenAIResponsesModel("canvas", client), tools=[tool]
)
talker: Agent[Any] = Agent(name="talker", model=OpenAIChatCompletionsModel("canvas", client))


async def main() -> None:
    found: dict[str, Any] = {}
    drawn = await Runner.run(artist, "a red apple")
    found["items"] = [item.type for item in drawn.new_items]
    found["text"] = drawn.final_output
    later = await Runner.run(artist, "make it blue", previous_response_id=drawn.last_response_id)
    found["later"] = later.final_output
    again = await Runner.run(artist, [*drawn.to_input_list(), {"role": "user", "content": "make it green"}])
    found["again"] = again.final_output
    streamed = Runner.run_streamed(artist, "a boat")
    found["events"] = sorted({event.type async for event in streamed.stream_events()})
    found["streamed"] = streamed.final_output
    found["chat"] = (await Runner.run(talker, "a red apple")).final_output
    try:
        await Runner.run(Agent(name="x", model=OpenAIResponsesModel("gpt-9", client), tools=[tool]), "x")
    except openai.APIStatusError as error:
        found["error"] = [type(error).__name__, error.status_code]
    sys.stdout.write(json.dumps(found))


set_tracing_disabled(disabled=True)
asyncio.run(main())

"""Draws with LangChain, and prints what came back as JSON."""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

import openai
from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper
from langchain_openai import ChatOpenAI

origin, png = sys.argv[1], sys.argv[2]
place: dict[str, Any] = {"base_url": f"{origin}/v1", "api_key": "unused"}
found: dict[str, Any] = {}

found["url"] = DallEAPIWrapper(model="dall-e-3", size="256x256", quality="standard", **place).run("a red apple")

chat = ChatOpenAI(model="canvas", **place)
found["chat"] = chat.invoke("a red apple").content
found["stream"] = "".join(str(chunk.content) for chunk in chat.stream("a boat"))

tool = {"type": "image_generation", "size": "64x32"}
artist = ChatOpenAI(model="canvas", use_responses_api=True, **place).bind_tools([tool])
drawn = artist.invoke("a red apple")
found["blocks"] = [block["type"] for block in drawn.content]
found["text"] = drawn.text
[call] = [block for block in drawn.content if block["type"] == "image_generation_call"]
found["picture"] = base64.b64decode(call["result"])[1:4].decode()
later = artist.invoke("make it blue", previous_response_id=drawn.response_metadata["id"])
found["later"] = [block["type"] for block in later.content]
look = [{"type": "text", "text": "a boat"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}}]
found["edit"] = [block["type"] for block in artist.invoke([{"role": "user", "content": look}]).content]
collage = ChatOpenAI(model="collage", use_responses_api=True, **place).bind_tools([tool])
both = collage.invoke([{"role": "user", "content": [*look, look[1]]}])
found["referred"] = [block["type"] for block in both.content]
found["streamed"] = sorted({block["type"] for chunk in artist.stream("a boat") for block in chunk.content})

found["errors"] = []
for model, more in (("gpt-9", {}), ("canvas", {"use_responses_api": True, "model_kwargs": {"conversation": "conv_1"}})):
    try:
        ChatOpenAI(model=model, max_retries=0, **more, **place).bind_tools([tool] if more else []).invoke("x")
    except openai.APIStatusError as error:
        found["errors"].append([type(error).__name__, error.status_code, error.param])

patient = ChatOpenAI(model="canvas", timeout=0.7, max_retries=50, use_responses_api=True, **place)
again = patient.bind_tools([tool | {"steps": 120}]).invoke("again in langchain")
found["retried"] = [block["type"] for block in again.content]
sys.stdout.write(json.dumps(found))

"""Calls what litellm offers of this service, and prints what came back as JSON."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sys
from typing import Any

import litellm
from litellm import completion, image_edit, image_generation, responses

origin, png = sys.argv[1], base64.b64decode(sys.argv[2])
place: dict[str, Any] = {"api_base": f"{origin}/v1", "api_key": "unused"}
model = "openai/canvas"
tool = {"type": "image_generation", "size": "64x32"}
litellm.suppress_debug_info = True
found: dict[str, Any] = {}

made = image_generation(prompt="a red apple", model=model, n=2, size="64x32", **place)
found["generate"] = [base64.b64decode(item.b64_json)[1:4].decode() for item in made.data]
image = io.BytesIO(png)
image.name = "red.png"
edited = image_edit(image=image, prompt="a boat", model=model, **place)
found["edit"] = base64.b64decode(edited.data[0].b64_json)[1:4].decode()

messages = [{"role": "user", "content": "a red apple"}]
found["chat"] = completion(model=model, messages=messages, **place).choices[0].message.content
chunks = completion(model=model, messages=messages, stream=True, **place)
found["stream"] = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

answer = responses(model=model, input="a red apple", tools=[tool], **place)
found["response"] = [getattr(item, "type", None) or item["type"] for item in answer.output]
events = responses(model=model, input="a boat", tools=[tool], stream=True, **place)
found["events"] = [str(getattr(event.type, "value", event.type)) for event in events]

later = asyncio.run(litellm.aimage_generation(prompt="a kite", model=model, size="64x32", **place))
found["later"] = base64.b64decode(later.data[0].b64_json)[1:4].decode()
pair = [io.BytesIO(png), io.BytesIO(png)]
referred = image_edit(image=pair, prompt="a boat", model="openai/collage", **place)
found["referred"] = base64.b64decode(referred.data[0].b64_json)[1:4].decode()
judged = litellm.moderation(input="a red apple", model="omni-moderation-latest", **place)
found["flagged"] = [result.flagged for result in judged.results]

openai = place | {"custom_llm_provider": "openai"}
body = {"model": "canvas", "prompt": "a lamp", "size": "64x32"}
line = {"custom_id": "1", "method": "POST", "url": "/v1/images/generations", "body": body}
file = litellm.create_file(file=("calls.jsonl", json.dumps(line).encode()), purpose="batch", **openai)
batch = litellm.create_batch(completion_window="24h", endpoint=line["url"], input_file_id=file.id, **openai)
while batch.status in ("validating", "in_progress", "finalizing"):
    batch = litellm.retrieve_batch(batch_id=batch.id, **openai)
output = json.loads(litellm.file_content(batch.output_file_id, **openai).content)
found["batch"] = [batch.status, output["response"]["status_code"]]

found["errors"] = []
for call, given in (
    (image_generation, {"prompt": "x", "model": model, "size": "3x3"}),
    (completion, {"model": "openai/gpt-9", "messages": messages}),
):
    try:
        call(**given, **place, num_retries=0)
    except Exception as error:  # noqa: BLE001 - the test compares the kind
        found["errors"].append([type(error).__name__, getattr(error, "status_code", None)])

again = image_generation(
    prompt="again in litellm", model=model, timeout=0.7, max_retries=50, extra_body={"steps": 120}, **place
)
found["retried"] = len(again.data)
sys.stdout.write(json.dumps(found))

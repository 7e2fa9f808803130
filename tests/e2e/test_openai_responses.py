"""The official openai client makes responses with a running service; its own types accept every answer and event."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any, Final

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseInputParam, ResponseStreamEvent
from openai.types.responses.tool_param import ImageGeneration
from PIL import Image
from pydantic import TypeAdapter

from tests.processes import eventually

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
CANVAS: Final = "canvas"
CALL: Final = "response.image_generation_call"
SAID: Final = [
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


@pytest.fixture(scope="module")
def client(door: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{door}/v1", api_key="unused", max_retries=0) as built:
        yield built


def tool(**more: Any) -> ImageGeneration:
    made: Any = {"type": "image_generation", "size": "64x32"} | more
    return made


def pictures(response: Response) -> list[Image.Image]:
    """The pictures of a response that the client's types accept."""
    Response.model_validate(response.model_dump())
    calls = [item for item in response.output if item.type == "image_generation_call"]
    assert all(call.status == "completed" for call in calls)
    return [Image.open(io.BytesIO(base64.b64decode(call.result or ""))) for call in calls]


def test_a_response_has_its_picture_and_words(client: openai.OpenAI) -> None:
    asked = tool(quality="high", output_format="jpeg", output_compression=80)
    response = client.responses.create(model=CANVAS, input="a red apple", tools=[asked], tool_choice="required")
    [picture] = pictures(response)
    assert (picture.format, picture.size) == ("JPEG", (64, 32))
    assert (response.status, response.model, response.error) == ("completed", CANVAS, None)
    assert "apple" in response.output_text
    assert response.usage is not None
    assert response.usage.input_tokens == 3
    assert client.responses.retrieve(response.id).output == response.output
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_a_stream_has_the_events_that_the_client_knows_in_their_order(client: openai.OpenAI) -> None:
    asked: Any = tool(partial_images=2, steps=200)
    with client.responses.create(model=CANVAS, input="a boat", tools=[asked], stream=True) as stream:
        events = list(stream)
    for event in events:
        EVENT.validate_python(event.model_dump())
    kinds = [event.type for event in events]
    previews = kinds.count(f"{CALL}.partial_image")
    assert 1 <= previews <= 2
    end = 5 + 2  # each preview that was asked for has its number, also one that a fast job leaves out
    expected = [*range(5 + previews), *range(end, end + len(events) - 5 - previews)]
    assert [event.sequence_number for event in events] == expected
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        f"{CALL}.in_progress",
        f"{CALL}.generating",
        *[f"{CALL}.partial_image"] * previews,
        f"{CALL}.completed",
        "response.output_item.done",
        *SAID,
    ]
    last = events[-1]
    assert last.type == "response.completed"
    assert len(pictures(last.response)) == 1


def test_the_clients_stream_helper_gathers_the_same_response(client: openai.OpenAI) -> None:
    asked: Any = tool(n=2)
    with client.responses.stream(model=CANVAS, input="two boats", tools=[asked]) as stream:
        final = stream.get_final_response()
    assert len(pictures(final)) == 2
    assert final.output_text


def test_a_conversation_goes_on_from_the_earlier_response(client: openai.OpenAI) -> None:
    first = client.responses.create(model=CANVAS, input="a red boat", tools=[tool()])
    second = client.responses.create(input="make it blue", previous_response_id=first.id, tools=[tool()])
    assert second.model == CANVAS
    [call] = [item for item in second.output if item.type == "image_generation_call"]
    assert "boat" in (call.revised_prompt or "")
    said: Any = [{"role": "user", "content": "a red boat"}, *[item.model_dump() for item in first.output]]
    again = client.responses.create(
        model=CANVAS, input=[*said, {"role": "user", "content": "make it blue"}], tools=[tool()]
    )
    [sent] = [item for item in again.output if item.type == "image_generation_call"]
    assert sent.revised_prompt == call.revised_prompt
    items = list(client.responses.input_items.list(second.id, limit=1, order="asc"))  # each page has one
    assert [item.type for item in items] == ["message", "image_generation_call", "message", "message"]
    assert [item.id for item in items[1:3]] == [item.id for item in first.output]


def test_a_picture_is_edited_from_a_data_url_and_from_a_file(client: openai.OpenAI) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 32), "red").save(buffer, "PNG")
    file = client.files.create(file=("red.png", buffer.getvalue()), purpose="vision")
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    for picture in ({"image_url": url}, {"file_id": file.id}):
        part: Any = {"type": "input_image", "detail": "auto"} | picture
        words: ResponseInputParam = [{"role": "user", "content": [{"type": "input_text", "text": "a blue boat"}, part]}]
        response = client.responses.create(model=CANVAS, input=words, tools=[tool(action="edit")])
        [call] = [item for item in response.output if item.type == "image_generation_call"]
        assert call.action == "edit"


def test_a_response_in_the_background_is_polled_and_canceled(client: openai.OpenAI) -> None:
    queued = client.responses.create(model=CANVAS, input="a cat", tools=[tool()], background=True)
    done = eventually(lambda: _ended(client, queued.id), 60)
    assert done.status == "completed"
    slow: Any = tool(steps=1000)
    running = client.responses.create(model=CANVAS, input="a slow cat", tools=[slow], background=True)
    assert client.responses.cancel(running.id).status == "cancelled"


def test_a_client_that_loses_its_stream_continues_with_the_next_event(client: openai.OpenAI) -> None:
    asked: Any = tool(partial_images=2, steps=200)
    body: Any = {"model": CANVAS, "input": "a long boat", "tools": [asked], "background": True, "stream": True}
    got: list[Any] = []
    responses: Any = client.responses
    with responses.create(**body) as stream:
        for event in stream:
            got.append(event)
            if event.type == f"{CALL}.partial_image":
                break
    response_id, last = got[0].response.id, got[-1].sequence_number
    with responses.retrieve(response_id, stream=True, starting_after=last) as rest:
        got += list(rest)
    numbers = [event.sequence_number for event in got]
    assert numbers == sorted(set(numbers))
    assert [event.type for event in got[-len(SAID) :]] == SAID
    for event in got:
        EVENT.validate_python(event.model_dump())
    with client.responses.retrieve(response_id, stream=True) as whole:
        kinds = [event.type for event in whole]
    assert kinds == [event.type for event in got if event.type != f"{CALL}.partial_image"]


def test_a_canceled_job_ends_the_stream_of_its_response(client: openai.OpenAI, door: str) -> None:
    slow: Any = tool(steps=1000)
    with client.responses.create(model=CANVAS, input="halt", tools=[slow], stream=True) as stream:
        events = iter(stream)
        first = next(events)
        assert first.type == "response.created"
        job = first.response.model_dump()["job_id"]
        httpx.post(f"{door}/api/v1/jobs/{job}/cancel").raise_for_status()
        *_, last = events
    assert last.type == "response.failed"
    assert last.response.status == "cancelled"


def test_what_is_refused_names_the_parameter(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.responses.create(model=CANVAS, input="x", tools=[tool(background="transparent")])
    assert refused.value.param == "tools[0].background"
    with pytest.raises(openai.UnprocessableEntityError, match="tools"):
        client.responses.create(model=CANVAS, input="x")
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        client.responses.create(model="gpt-9", input="x", tools=[tool()])


def _ended(client: openai.OpenAI, response_id: str) -> Response | None:
    found = client.responses.retrieve(response_id)
    return None if found.status in ("queued", "in_progress") else found

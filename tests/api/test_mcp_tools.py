"""The tools of agents while the service refuses polls or cannot read pictures, and calls of several keys at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from types import SimpleNamespace
from typing import Any, cast

import anyio
import httpx
import pytest
from mcp.server.mcpserver import Context

from limner_client.client import Client
from limner_client.mcp_server.progress import Progress
from limner_client.mcp_server.results import job_answer
from limner_client.mcp_server.tools import CALLS_OF_ONE, Tools, _submit
from limner_shared.domain.views import JobView
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start

BUSY = {"code": "overloaded", "title": "Overloaded", "status": 503, "detail": "The server is busy."}
UNWATCHED = cast("Progress", SimpleNamespace(is_wanted=False, tell=bool))


def _same(key: str | None) -> str | None:
    return key


class Refusing(httpx.BaseTransport):
    """Passes requests on to the application, except reads of these paths."""

    def __init__(self, app: App, refused: str) -> None:
        self._app = httpx.WSGITransport(app=app)
        self._refused = refused

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and request.url.path.startswith(self._refused):
            return httpx.Response(503, json=BUSY, headers={"content-type": "application/problem+json"})
        return self._app.handle_request(request)


def test_an_edit_takes_what_a_picture_of_a_prompt_takes(app: App):
    assert set(signature(Tools.generate_image).parameters) <= set(signature(Tools.edit_image).parameters)
    sent: list[dict[str, Any]] = []

    class Noting(Client):
        def submit(self, request: Mapping[str, Any]) -> JobView:
            sent.append(dict(request))
            return super().submit({"prompt": "a cat"})

    tools = Tools(lambda _: Noting("http://localhost", transport=httpx.WSGITransport(app=app)), lambda _: None)
    finer: dict[str, Any] = {"steps": 30, "guidance": 5.0, "quality": "best", "negative_prompt": "text"}
    context = cast("Context", SimpleNamespace(request_context=SimpleNamespace(meta={})))
    edit: Any = partial(tools.edit_image, context, "img_x", "a cat", model="canvas")
    asyncio.run(edit(**finer, wait_seconds=0))
    assert sent[0].items() >= finer.items()


def test_a_refused_poll_does_not_hide_the_job_from_the_agent(app: App):
    with Client("http://localhost", transport=Refusing(app, "/api/v1/jobs/")) as client:
        told: Any = _submit(client, {"prompt": "a cat"}, 20, UNWATCHED).structured_content
    assert (told["finished"], told["job_id"].startswith("job_")) == (False, True)
    assert "Do not generate the picture again" in told["next_step"]


def test_a_picture_that_cannot_be_read_now_is_named_and_not_drawn_again(app: App, client: ApiClient):
    job_id = client.post("/api/v1/jobs", json={"prompt": "a cat"}).json["id"]
    finish(app, start(app, job_id), png("red"))
    with Client("http://localhost", transport=Refusing(app, "/api/v1/images/")) as api:
        answer = job_answer(api, api.job(job_id))
    told: Any = answer.structured_content
    assert ([block.type for block in answer.content], len(told["pictures"])) == (["text"], 1)
    assert "Do not generate it again" in told["next_step"]


@pytest.mark.parametrize("other", ["another", None])
def test_a_key_with_many_waiting_calls_leaves_places_for_others(app: App, other: str | None):
    ended, running = threading.Event(), threading.Semaphore(0)
    tools = Tools(lambda _: Client("http://localhost", transport=httpx.WSGITransport(app=app)), cast("Any", _same))

    def hangs(_: Client) -> bool:
        running.release()
        return ended.wait(60)

    async def run() -> None:
        def call(key: str | None, work: Callable[[Client], Any]) -> asyncio.Task[Any]:
            return asyncio.create_task(tools._call(cast("Context", key), work))

        many = [call("many", hangs) for _ in range(4 * CALLS_OF_ONE + 1)]
        for _ in range(CALLS_OF_ONE):
            await asyncio.to_thread(running.acquire, timeout=60)
        models = await asyncio.wait_for(call(other, lambda client: client.models()), 60)
        assert models
        ended.set()
        assert all(await asyncio.gather(*many))

    asyncio.run(run())


def test_calls_that_are_given_up_keep_their_places_until_their_threads_end():
    ended, begun, running, most = threading.Event(), threading.Semaphore(0), set[object](), 0
    tools = Tools(lambda _: Client("http://localhost"), cast("Any", _same))

    def hangs(client: Client) -> None:
        nonlocal most
        running.add(client)
        most = max(most, len(running))
        begun.release()
        ended.wait(60)
        running.discard(client)

    async def call_and_give_up(given_up: asyncio.Event) -> None:
        async with anyio.create_task_group() as calls:
            for _ in range(CALLS_OF_ONE):
                calls.start_soon(tools._call, cast("Context", "one"), hangs)
            await given_up.wait()
            calls.cancel_scope.cancel()

    async def run() -> None:
        given_up = asyncio.Event()
        waves = [asyncio.create_task(call_and_give_up(given_up))]
        for _ in range(CALLS_OF_ONE):
            await asyncio.to_thread(begun.acquire, timeout=60)
        given_up.set()
        waves += [asyncio.create_task(call_and_give_up(asyncio.Event())) for _ in range(2)]
        assert await tools._call(cast("Context", "another"), lambda _: True)
        ended.set()
        await waves[0]
        for wave in waves[1:]:
            wave.cancel()

    asyncio.run(run())
    assert most == CALLS_OF_ONE

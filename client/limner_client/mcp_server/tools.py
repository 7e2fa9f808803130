"""The tools that agents call. Each is one or two calls of the HTTP API, in a thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Annotated, Any, Final, TypeVar
from weakref import WeakValueDictionary

from anyio import CapacityLimiter, to_thread
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult
from pydantic import Field

from limner_client.client import Client
from limner_client.mcp_server.progress import Progress
from limner_client.mcp_server.results import (
    Found,
    JobResult,
    Models,
    ModelSummary,
    as_answer,
    found_answer,
    job_answer,
)
from limner_client.mcp_server.tool_parameters import (
    ControlImage,
    ControlScale,
    Count,
    Guidance,
    MaskPadding,
    Model,
    NegativePrompt,
    Prompt,
    Quality,
    References,
    ReferenceScale,
    Seed,
    Size,
    Steps,
    Style,
    Text,
    Wait,
)
from limner_shared.domain.jobs import JobState
from limner_shared.domain.model_views import ModelView
from limner_shared.domain.views import JobView
from limner_shared.errors import InvalidRequest, LimnerError

T = TypeVar("T")
Connect = Callable[[Context], Client]
"""Makes the client for one call, from the call's context."""
Caller = Callable[[Context], str | None]
"""Who makes a call: an API key, or None if the service needs none."""

POLL_SECONDS: Final = 20
"""The longest single request; the server allows 25 seconds."""
PROGRESS_SECONDS: Final = 2
"""The same for an agent that wants to know of progress."""
DEFAULT_FOUND: Final = 8
MAX_FOUND: Final = 20
"""Jobs in one answer of a search; each has a thumbnail of some 10 kB."""
MAX_PAGES: Final = 10
"""Pages that one search reads: a page may be empty although more follow."""
CALLS_AT_ONCE: Final = 100
CALLS_OF_ONE: Final = 25
"""Of these, one key's: its further calls wait, and delay no other key."""


JobAnswer = Annotated[CallToolResult, JobResult]


class Tools:
    """The tools for one service."""

    def __init__(self, connect: Connect, caller: Caller) -> None:
        self._connect = connect
        self._caller = caller
        self._limiter = CapacityLimiter(CALLS_AT_ONCE)
        self._shares: WeakValueDictionary[str, CapacityLimiter] = WeakValueDictionary()

    async def generate_image(
        self,
        ctx: Context,
        prompt: Prompt,
        model: Model = "",
        style: Style = "",
        size: Size = "",
        n: Count = 1,
        seed: Seed = None,
        steps: Steps = None,
        guidance: Guidance = None,
        quality: Quality = "",
        negative_prompt: NegativePrompt = "",
        control_image: ControlImage = "",
        control_scale: ControlScale = None,
        reference_images: References = (),
        reference_scale: ReferenceScale = None,
        wait_seconds: Wait = POLL_SECONDS,
    ) -> JobAnswer:
        """Draw pictures of a prompt.

        Waits for them for a limited time. If they are not finished then, the answer has the job's id: call get_job.
        """
        request = {"prompt": prompt, "model": model, "style": style, "n": n, "seed": seed, "steps": steps}
        request |= {"guidance": guidance, "quality": quality, "negative_prompt": negative_prompt, **_size(size)}
        request |= {"control_image": control_image, "control_scale": control_scale}
        request |= {"reference_images": reference_images or None, "reference_scale": reference_scale}
        progress = Progress(ctx)
        return await self._call(ctx, lambda client: _submit(client, request, wait_seconds, progress))

    async def edit_image(
        self,
        ctx: Context,
        image: Annotated[str, Field(description="The id of a picture (img_…) of an earlier job, or a data: URL.")],
        prompt: Prompt,
        mask: Annotated[Text, Field(description="White where the picture may change; as `image`.")] = "",
        padding_mask_crop: MaskPadding = None,
        strength: Annotated[float | None, Field(gt=0, le=1, description="How far it may differ from `image`.")] = None,
        model: Annotated[Text, Field(description="A model with the task image-to-image or inpainting.")] = "",
        style: Style = "",
        size: Size = "",
        n: Count = 1,
        seed: Seed = None,
        steps: Steps = None,
        guidance: Guidance = None,
        quality: Quality = "",
        negative_prompt: NegativePrompt = "",
        control_image: ControlImage = "",
        control_scale: ControlScale = None,
        reference_images: References = (),
        reference_scale: ReferenceScale = None,
        wait_seconds: Wait = POLL_SECONDS,
    ) -> JobAnswer:
        """Draw pictures that start from a picture, or change the part of it that a mask names.

        Needs a model with that task; without a name, the first one is chosen. Waits as generate_image does.
        """
        request = {"prompt": prompt, "image": image, "mask": mask, "strength": strength, "style": style, "n": n}
        request |= {"seed": seed, "control_image": control_image, "control_scale": control_scale, **_size(size)}
        request |= {"reference_images": reference_images or None, "reference_scale": reference_scale}
        request |= {"padding_mask_crop": padding_mask_crop, "steps": steps, "guidance": guidance}
        request |= {"quality": quality, "negative_prompt": negative_prompt}
        progress = Progress(ctx)

        def edit(client: Client) -> CallToolResult:
            task = "inpainting" if mask else "image-to-image"
            chosen = model or _model_for(client.models(), task, bool(control_image), bool(reference_images))
            return _submit(client, request | {"model": chosen}, wait_seconds, progress)

        return await self._call(ctx, edit)

    async def get_job(
        self,
        ctx: Context,
        job_id: Annotated[str, Field(pattern=r"^job_[0-9a-z]{1,32}$")],
        wait_seconds: Wait = 0,
    ) -> JobAnswer:
        """Return a job's state, and its pictures once it has finished; with wait_seconds, wait for that."""
        progress = Progress(ctx)
        return await self._call(
            ctx, lambda client: job_answer(client, _follow(client, client.job(job_id), wait_seconds, progress))
        )

    async def search_images(
        self,
        ctx: Context,
        query: Annotated[
            Text, Field(max_length=200, description="Words of the prompt, all of which must occur. Default: any job.")
        ] = "",
        model: Annotated[Text, Field(description="Only pictures of this model.")] = "",
        style: Style = "",
        tag: Annotated[Text, Field(description="Only jobs with this tag.")] = "",
        favourite: Annotated[bool, Field(description="Only favourites.")] = False,
        limit: Annotated[int, Field(ge=1, le=MAX_FOUND, description="The most jobs.")] = DEFAULT_FOUND,
        cursor: Annotated[Text, Field(max_length=40, description="The `next_cursor` of the answer before.")] = "",
    ) -> Annotated[CallToolResult, Found]:
        """Find finished pictures of earlier jobs, the newest first, with a thumbnail of each job's first picture."""
        filters = {"q": query, "model": model, "style": style, "tag": tag, "favourite": favourite or None}
        given = {name: value for name, value in filters.items() if value != ""}
        return await self._call(ctx, lambda client: found_answer(client, *_find(client, given, limit, cursor)))

    async def list_models(self, ctx: Context) -> Annotated[CallToolResult, Models]:
        """List the models with their tasks, sizes, styles and limits."""

        def find(client: Client) -> CallToolResult:
            return as_answer(Models(models=[_summary(model) for model in client.models()]))

        return await self._call(ctx, find)

    async def _call(self, ctx: Context, work: Callable[[Client], T]) -> T:
        """Do the work with a client for this call, in a thread. Raises ToolError with our code and sentence.

        A call that is given up keeps its place until its thread has ended: otherwise, threads would have no limit.
        """

        def run() -> T:
            with self._connect(ctx) as client:
                return work(client)

        try:
            async with self._share(self._caller(ctx)):
                return await to_thread.run_sync(run, limiter=self._limiter)
        except LimnerError as error:
            raise ToolError(f"{error.code}: {error.message}") from error

    def _share(self, key: str | None) -> AbstractAsyncContextManager[None]:
        return nullcontext() if key is None else self._shares.setdefault(key, CapacityLimiter(CALLS_OF_ONE))


def _submit(client: Client, request: dict[str, Any], wait_seconds: int, progress: Progress) -> CallToolResult:
    given = {name: value for name, value in request.items() if value != "" or name == "prompt"}
    return job_answer(client, _follow(client, client.submit(given), wait_seconds, progress))


def _follow(client: Client, job: JobView, seconds: int, progress: Progress) -> JobView:
    """The job once it has ended or the seconds have passed; as it was last seen if a poll is refused, because an agent
    that does not learn the job's id draws again. The agent receives its progress meanwhile.
    """
    ends, every = time.monotonic() + seconds, PROGRESS_SECONDS if progress.is_wanted else POLL_SECONDS
    progress.tell(job)
    with suppress(LimnerError):
        while not job.status.terminal and (left := int(ends - time.monotonic())) > 0:
            job = client.job(job.id, min(left, every))
            progress.tell(job)
    return job


def _find(client: Client, filters: dict[str, Any], limit: int, cursor: str) -> tuple[list[JobView], str | None]:
    """At most `limit` jobs with pictures, from a few pages of the list, and the cursor behind them."""
    found: list[JobView] = []
    after: str | None = cursor or None
    for _ in range(MAX_PAGES):
        page = client.jobs(status=JobState.SUCCEEDED, limit=limit - len(found), cursor=after, **filters)
        found += [job for job in page.items if job.images]
        after = page.next
        if after is None or len(found) == limit:
            break
    return found, after


def _size(size: str) -> dict[str, int]:
    if not size:
        return {}
    width, _, height = size.partition("x")
    return {"width": int(width), "height": int(height)}


def _model_for(models: list[ModelView], task: str, controlled: bool, referring: bool) -> str:
    """The model for a task and the pictures beside it; one that follows a control picture only if there is one."""
    fit = [model for model in models if task in model.tasks and (model.control is not None) == controlled]
    able = sorted((each for each in fit if each.reference or not referring), key=lambda model: not model.default)
    if not able:
        beside = "and follows a control picture" if controlled else "without a control picture"
        beside += " and takes reference pictures" if referring else ""
        raise InvalidRequest(f"No model of this service has the task {task} {beside}.", field="model")
    return able[0].name


def _summary(model: ModelView) -> ModelSummary:
    return ModelSummary(
        name=model.name,
        title=model.title,
        description=model.description,
        is_default=model.default,
        tasks=model.tasks,
        sizes=model.sizes,
        styles=model.styles,
        default_steps=model.steps["default"],
        max_steps=model.steps["max"],
        max_images=model.max_images,
        takes_negative_prompts=model.negative_prompts,
        follows_control_picture=model.control is not None,
        most_references=model.reference.most if model.reference else 0,
    )

"""The routes of A1111's API."""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import Any, Final

from apiflask import APIBlueprint
from flask import Response, jsonify, request
from pydantic import BaseModel, ConfigDict

from limner_shared.db import queries
from limner_shared.domain.jobs import JobState
from limner_shared.domain.views import JobView
from limner_shared.errors import InvalidRequest, NotFound
from limner_web import synchronous_jobs
from limner_web.a1111 import current_jobs, infotext, options, parameters
from limner_web.a1111.answers import generation_answer, progress_answer
from limner_web.auth import key_id, tenant_id
from limner_web.explanation import explain
from limner_web.http.problems import renamed
from limner_web.http.throttling import release_request_slot
from limner_web.http.warning_header import with_warning
from limner_web.intake import submission
from limner_web.intake.cancellation import cancel_job
from limner_web.intake.headers import JobHeaders
from limner_web.limits import MAX_IMAGE_BYTES
from limner_web.services import Services, get_services
from limner_web.view_builders import read_job_view

bp = APIBlueprint("a1111", __name__, url_prefix="/sdapi/v1", enable_openapi=False)

NO_UPSCALER: Final = {"name": "None", "model_name": None, "model_path": None, "model_url": None, "scale": 1}


@bp.post("/txt2img")
def text_to_image() -> Response:
    """Draw pictures of a prompt, and answer with them."""
    return _generate(parameters.TextToImage)


@bp.post("/img2img")
def image_to_image() -> Response:
    """Draw pictures from a picture, and answer with them."""
    return _generate(parameters.ImageToImage)


@bp.get("/options")
def get_options() -> Response:
    """Retrieve the options that have an effect, and those that clients expect."""
    services = get_services()
    return jsonify(options.as_shown(_options(services), services.catalogue))


@bp.post("/options")
def set_options() -> Response:
    """Change some options of the tenant."""
    services = get_services()
    changed = options.with_changes(_options(services), request.get_json(), services.catalogue)
    options.save(services.hints.redis, tenant_id(), changed)
    return jsonify(None)


@bp.get("/sd-models")
def list_models() -> Response:
    """List the models."""
    none = {"hash": None, "sha256": None, "config": None}
    names = get_services().catalogue.cards
    return jsonify([{"title": name, "model_name": name, "filename": name} | none for name in names])


@bp.get("/samplers")
def list_samplers() -> Response:
    """List `Automatic`, which is each model's own sampler, and the others that the current model has."""
    services = get_services()
    card = options.current_card(services.hints.redis, tenant_id(), services.catalogue)
    theirs = {ours: name for name, ours in parameters.SAMPLERS.items()}
    names = {"Automatic": list[str]()} | {name: [theirs[name]] if name in theirs else [] for name in card.schedulers}
    return jsonify([{"name": name, "aliases": aliases, "options": {}} for name, aliases in names.items()])


@bp.get("/schedulers")
def list_schedulers() -> Response:
    """List the one schedule there is: the sampler's own."""
    none = {"aliases": None, "default_rho": -1, "need_inner_model": False}
    return jsonify([{"name": "automatic", "label": "Automatic"} | none])


@bp.get("/upscalers")
def list_upscalers() -> Response:
    """List no upscaler: each model draws its sizes itself."""
    return jsonify([NO_UPSCALER])


@bp.get("/latent-upscale-modes")
@bp.get("/sd-vae", endpoint="list_vaes")
@bp.get("/face-restorers", endpoint="list_face_restorers")
@bp.get("/realesrgan-models", endpoint="list_realesrgan_models")
@bp.get("/hypernetworks", endpoint="list_hypernetworks")
def list_nothing() -> Response:
    """List nothing: pictures are not upscaled or repaired, and a model's autoencoder is part of it. Some clients do not
    start without these lists.
    """
    return jsonify([])


@bp.post("/refresh-checkpoints")
@bp.post("/refresh-loras", endpoint="refresh_adapters")
@bp.post("/refresh-vae", endpoint="refresh_vaes")
@bp.post("/reload-checkpoint", endpoint="reload_model")
@bp.post("/unload-checkpoint", endpoint="unload_model")
def do_nothing() -> Response:
    """Do nothing: lists are always current, and the workers decide which models are in memory. Programs that share a
    GPU with the web UI call these and stop at an error.
    """
    return jsonify(None)


@bp.get("/embeddings")
def list_embeddings() -> Response:
    """List no embeddings: no word of a prompt stands for one."""
    return jsonify({"loaded": {}, "skipped": {}})


@bp.get("/loras")
def list_adapters() -> Response:
    """List the current model's adapters. A prompt chooses one by `<lora:name:weight>`."""
    services = get_services()
    card = options.current_card(services.hints.redis, tenant_id(), services.catalogue)
    names = services.adapter_folders.names(card)
    return jsonify([{"name": name, "alias": name, "path": name, "metadata": {}} for name in names])


@bp.get("/prompt-styles")
def list_styles() -> Response:
    """List the current model's styles. A request names one in `styles`."""
    services = get_services()
    card = options.current_card(services.hints.redis, tenant_id(), services.catalogue)
    return jsonify([{"name": style, "prompt": None, "negative_prompt": None} for style in card.styles])


@bp.get("/scripts")
def list_scripts() -> Response:
    """List no scripts: clients look here for extensions."""
    return jsonify({"txt2img": [], "img2img": []})


@bp.get("/progress")
def get_progress() -> Response:
    """Retrieve the progress of the caller's current job."""
    services = get_services()
    jobs = _open_jobs(services)
    skip = request.args.get("skip_current_image", "").lower() in ("true", "1")
    preview = services.hints.request_preview(jobs[0].id) if jobs and not skip else None
    return jsonify(progress_answer(jobs, preview, _seconds_left(services, jobs[0].id) if jobs else 0.0))


@bp.post("/interrupt")
def interrupt() -> Response:
    """Cancel the caller's current job, as the waiting client or its server asks."""
    services = get_services()
    jobs = _open_jobs(services)
    if jobs:
        cancel_job(services, tenant_id(), jobs[0].id)
    return jsonify({})


class PngInfoRequest(BaseModel):
    """The picture whose parameters are read."""

    model_config = ConfigDict(extra="forbid")
    image: str


@bp.post("/png-info")
def png_info() -> Response:
    """Read the parameters text of a picture file."""
    services = get_services()
    encoded = PngInfoRequest.model_validate(request.get_json()).image
    try:
        file = base64.b64decode(encoded.partition("base64,")[2] or encoded, validate=True)
    except ValueError as error:  # also of text that is not ASCII
        raise InvalidRequest("image: send the picture in base64.", field="image") from error
    if len(file) > MAX_IMAGE_BYTES:
        raise InvalidRequest(f"image: at most {MAX_IMAGE_BYTES // 1_000_000} MB.", field="image")
    text, others = services.pillow.call_for(tenant_id(), infotext.text_in, file)
    return jsonify({"info": text, "items": others, "parameters": infotext.parse(text) if text else {}})


def _generate(kind: type[parameters.TextToImage]) -> Response:
    services, body, caller = get_services(), request.get_json(), synchronous_jobs.WaitingClient.of_request()
    header = JobHeaders.read(request.headers)
    fits = services.model_names.fits_sizes(built_in=True)
    asked = parameters.read(body, kind, _options(services), services.catalogue, fits=fits)
    model = services.catalogue.get(asked.job.model).name
    if asked.job.padding_mask_crop is not None and services.worker_limits.lacks(
        model, "inpainting", "padding_mask_crop"
    ):
        asked = asked.drawn_whole()
    try:
        job_id = submission.submit(services, tenant_id(), asked.job, header).job_id
    except InvalidRequest as error:
        raise renamed(services.model_names.with_able_models(error), asked.called) from error
    current_jobs.remember(services.hints.redis, _caller(), job_id)
    release_request_slot(services.limiter)
    *_, job = synchronous_jobs.follow(services, tenant_id(), job_id, caller)
    current_jobs.forget(services.hints.redis, _caller(), [job_id])
    return _answer(services, asked, synchronous_jobs.require_success(job), body)


def _answer(services: Services, asked: parameters.Generation, job: JobView, body: dict[str, Any]) -> Response:
    texts = [infotext.infotext(job, image, asked.letterbox) for image in job.images]
    kind, with_text = asked.options.samples_format.replace("jpg", "jpeg"), asked.options.enable_pnginfo
    files: list[bytes] = []
    for image, text in zip(job.images if asked.send_images else [], texts, strict=False):
        stored = synchronous_jobs.stored_picture(services, tenant_id(), image)
        if asked.letterbox is not None:
            stored = services.renditions.convert(tenant_id(), stored, "png", None, asked.letterbox)
        if kind != "png" or with_text:
            writer = partial(infotext.as_file, kind=kind, text=text if with_text else None)
            stored = services.renditions.write(tenant_id(), stored, kind, writer)
        files.append(stored)
    answer = Response(json.dumps(generation_answer(asked, job, texts, files, body)), mimetype="application/json")
    for warning in asked.warnings:
        with_warning(answer, warning)
    return answer


def _options(services: Services) -> options.Options:
    return options.load(services.hints.redis, tenant_id(), services.catalogue)


def _caller() -> str:
    return f"{tenant_id()}:{key_id() or ''}"


def _seconds_left(services: Services, job_id: str) -> float:
    """The expected time until a job has ended, 0 if it is not known."""
    with services.database.read() as session:
        try:
            eta = explain(session, services.hints.redis, queries.job(session, tenant_id(), job_id)).eta
        except NotFound:  # deleted meanwhile
            eta = None
    return 0.0 if eta is None else eta.median_seconds


def _open_jobs(services: Services) -> list[JobView]:
    """The caller's jobs that have not ended: the running ones first, then the oldest."""
    views: list[JobView] = []
    ended: list[str] = []
    for job_id in current_jobs.ids(services.hints.redis, _caller()):
        try:
            view = read_job_view(services, tenant_id(), job_id)
        except NotFound:
            ended.append(job_id)
        else:
            ended.append(job_id) if view.status.terminal else views.append(view)
    current_jobs.forget(services.hints.redis, _caller(), ended)
    return sorted(views, key=lambda view: view.status is not JobState.RUNNING)

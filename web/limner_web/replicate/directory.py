"""What Replicate's clients look up before they run something: the account, the models, and lists of them."""

from __future__ import annotations

from typing import Any, Final

from apiflask import APIBlueprint
from flask import Response, jsonify, request

from limner_shared.errors import NotFound
from limner_web.auth import tenant_id
from limner_web.http.request_bodies import BROKEN_BODY, cut_off
from limner_web.replicate import models
from limner_web.services import get_services, public_origin

bp = APIBlueprint("replicate_directory", __name__, url_prefix="/replicate/v1", enable_openapi=False)

MAX_SEARCH_BYTES: Final = 1_000


def one_page(results: list[dict[str, Any]]) -> Response:
    """A list that has one page."""
    return jsonify({"previous": None, "next": None, "results": results})


@bp.get("/account")
def get_account() -> Response:
    """Retrieve the account, which is the caller's tenant."""
    name = tenant_id()
    return jsonify({"type": "organization", "username": name, "name": name, "github_url": None})


@bp.get("/hardware")
def list_hardware() -> Response:
    """List the one kind of hardware: what the operator has."""
    return jsonify([models.HARDWARE])


@bp.get("/collections")
def list_collections() -> Response:
    """List the collections: one for each task that a model here has."""
    collections = models.collections(get_services())
    return one_page([models.collection_object(task) for task in collections])


@bp.get("/collections/<slug>")
def get_collection(slug: str) -> Response:
    """Retrieve a collection with its models."""
    services = get_services()
    collections = models.collections(services)
    if slug not in collections:
        raise NotFound(f"There is no collection {slug[:80]!r}. Collections: {', '.join(collections)}.")
    origin = public_origin(services)
    found = [models.model_object(services, card, origin) for card in collections[slug]]
    return jsonify(models.collection_object(slug) | {"models": found})


@bp.get("/trainings")
def list_trainings() -> Response:
    """List no trainings: models are trained by `limner train`, and not through this API."""
    return one_page([])


@bp.route("/models", methods=["QUERY"])
def search_models() -> Response:
    """List the models whose name, title or description has every word of the body."""
    services = get_services()
    request.max_content_length = MAX_SEARCH_BYTES
    try:
        query = request.get_data().decode(errors="replace")
    except BROKEN_BODY as error:
        raise cut_off(0, request.content_length) from error
    words = query.strip('"').casefold().split()  # the client for Node sends a text as JSON
    found = (card for card in services.catalogue.cards.values() if models.is_about(card, words))
    return one_page([models.model_object(services, card, public_origin(services)) for card in found])


@bp.get("/models")
def list_models() -> Response:
    """List the models."""
    services = get_services()
    cards, origin = services.catalogue.cards.values(), public_origin(services)
    return one_page([models.model_object(services, card, origin) for card in cards])


@bp.get("/models/<owner>/<name>")
def get_model(owner: str, name: str) -> Response:
    """Retrieve a model."""
    services = get_services()
    return jsonify(models.model_object(services, models.find(services, owner, name), public_origin(services)))


@bp.get("/models/<owner>/<name>/versions")
def list_versions(owner: str, name: str) -> Response:
    """List a model's only version."""
    services = get_services()
    return one_page([models.version_object(services, models.find(services, owner, name))])


@bp.get("/models/<owner>/<name>/versions/<version>")
def get_version(owner: str, name: str, version: str) -> Response:
    """Retrieve a version."""
    services = get_services()
    return jsonify(models.version_object(services, models.find_model_version(services, owner, name, version)))


@bp.get("/deployments")
def list_deployments() -> Response:
    """List the deployments, one for each model."""
    return one_page([models.deployment_object(card) for card in get_services().catalogue.cards.values()])


@bp.get("/deployments/<owner>/<name>")
def get_deployment(owner: str, name: str) -> Response:
    """Retrieve a deployment."""
    return jsonify(models.deployment_object(models.find(get_services(), owner, name)))

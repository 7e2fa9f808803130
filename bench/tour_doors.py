"""The calls of a tour that other services' clients and browsers send."""

from __future__ import annotations

import json
from typing import Any, Final

from bench.tour import Tour, names_in, native, webhooks
from limner_web.pages.languages import texts_in

MESSAGES: Final = [{"role": "user", "content": "a red apple"}]
A1111_LISTS: Final = """
    options sd-models samplers schedulers upscalers latent-upscale-modes sd-vae face-restorers realesrgan-models
    hypernetworks embeddings loras prompt-styles scripts progress
"""
A1111_ORDERS: Final = "refresh-checkpoints refresh-loras refresh-vae reload-checkpoint unload-checkpoint interrupt"
LEFT_OUT: Final = {
    "oidc.begin": "needs an identity provider; tests/api/test_oidc.py has one",
    "oidc.complete": "likewise",
    "forms.make_key": "needs a browser that is signed in; it makes the key as `keys.create_key` does",
}
"""The endpoints that a tour cannot call, and why."""


def every_route(tour: Tour) -> None:
    """Call every route. Raises RuntimeError for a call that is not accepted."""
    native(tour)
    openai(tour)
    files(tour)
    replicate(tour)
    replicate_directory(tour)
    a1111(tour)
    tour("POST", f"/hf/models/{tour.model}", json={"inputs": "a red apple"})
    pages(tour)


def openai(tour: Tour) -> None:
    """Call the routes of OpenAI's clients."""
    for path in ("/v1/models", f"/v1/models/{tour.model}"):
        tour("GET", path)
    tour("POST", "/v1/images/generations", json={"prompt": "a red apple", "model": tour.model})
    form: dict[str, Any] = {"data": {"prompt": "bluer", "model": tour.model}}
    tour("POST", "/v1/images/edits", **form, files={"image": ("a.png", tour.picture, "image/png")})
    varied = {"image": ("a.png", tour.picture, "image/png")}
    tour("POST", "/v1/images/variations", data={"model": tour.model}, files=varied)
    tour("POST", "/v1/chat/completions", json={"model": tour.model, "messages": MESSAGES})
    tour("POST", "/v1/moderations", json={"input": ["a red apple"]})
    picture = {"type": "image_url", "image_url": {"url": tour.data_url}}
    tour("POST", "/v1/moderations", json={"input": [{"type": "text", "text": "an apple"}, picture]})
    responses(tour)
    webhooks(tour, "/v1/webhook_endpoints", "/v1/webhook_event_types")


def responses(tour: Tour) -> None:
    """Call the routes of responses."""
    shown = {"type": "input_image", "image_url": tour.data_url}
    said = [{"role": "user", "content": [{"type": "input_text", "text": "a red apple"}, shown]}]
    asked = {"model": tour.model, "input": said, "tools": [{"type": "image_generation"}]}
    own = f"/v1/responses/{tour('POST', '/v1/responses', json=asked)['id']}"
    for path in (own, f"{own}?stream=true", f"{own}/input_items"):
        tour("GET", path)
    further = {"previous_response_id": own.rpartition("/")[2], "input": "bluer", "background": True}
    behind = tour("POST", "/v1/responses", json=asked | further)
    tour("GET", f"/v1/responses/{behind['id']}/input_items")
    tour("POST", f"/v1/responses/{behind['id']}/cancel")
    tour("DELETE", own)


def files(tour: Tour) -> None:
    """Call the routes of files and batches."""
    url, body = "/v1/images/generations", {"prompt": "a red apple", "model": tour.model}
    lines = "".join(
        json.dumps({"custom_id": f"{number}", "method": "POST", "url": url, "body": body}) + "\n" for number in range(5)
    )
    sent = {"data": {"purpose": "batch"}, "files": {"file": ("a.jsonl", lines.encode(), "application/jsonl")}}
    file = tour("POST", "/v1/files", **sent)
    own = f"/v1/files/{file['id']}"
    for path in ("/v1/files", own, f"{own}/content"):
        tour("GET", path)
    fields = {"input_file_id": file["id"], "endpoint": url, "completion_window": "24h"}
    batch = f"/v1/batches/{tour('POST', '/v1/batches', json=fields)['id']}"
    begun = tour.until(lambda: tour("GET", batch), lambda view: view["bulk_id"])
    tour.stand_in.bulks.add(begun["bulk_id"])
    ended = tour.until(lambda: tour("GET", batch), lambda view: view["status"] == "completed")
    tour("GET", f"/v1/files/{ended['output_file_id']}/content")
    tour("GET", "/v1/batches")
    tour("POST", f"/v1/batches/{tour('POST', '/v1/batches', json=fields)['id']}/cancel")
    tour("DELETE", own)


def replicate(tour: Tour) -> None:
    """Call the routes of Replicate's predictions and files."""
    wish = {"input": {"prompt": "a red apple", "image": tour.data_url}}
    made = tour("POST", "/replicate/v1/predictions", json=wish | {"version": f"limner/{tour.model}"})
    for kind in ("models", "deployments"):
        path = f"/replicate/v1/{kind}/limner/{tour.model}/predictions"
        tour("POST", path, json=wish, headers={"Prefer": "wait=20"})
    own = f"/replicate/v1/predictions/{made['id']}"
    tour.until(lambda: tour("GET", own), lambda view: view["status"] == "succeeded")
    for path in ("/replicate/v1/predictions", f"{own}/stream"):
        tour("GET", path)
    tour("POST", f"{own}/cancel")
    content = {"content": ("a.png", tour.picture, "image/png")}
    file = f"/replicate/v1/files/{tour('POST', '/replicate/v1/files', files=content)['id']}"
    for path in ("/replicate/v1/files", file):
        tour("GET", path)
    tour("DELETE", file)


def replicate_directory(tour: Tour) -> None:
    """Call the routes that Replicate's clients read first."""
    for path in ("account", "hardware", "collections", "trainings", "models", "deployments", "webhooks/default/secret"):
        tour("GET", f"/replicate/v1/{path}")
    tour("QUERY", "/replicate/v1/models", content="apple", headers={"Content-Type": "text/plain"})
    slug = tour("GET", "/replicate/v1/collections")["results"][0]["slug"]
    one = f"/replicate/v1/models/limner/{tour.model}"
    for path in (f"/replicate/v1/collections/{slug}", one, f"/replicate/v1/deployments/limner/{tour.model}"):
        tour("GET", path)
    version = tour("GET", f"{one}/versions")["results"][0]["id"]
    tour("GET", f"{one}/versions/{version}")


def a1111(tour: Tour) -> None:
    """Call the routes of clients of A1111's web UI."""
    for name in A1111_LISTS.split():
        tour("GET", f"/sdapi/v1/{name}")
    for name in A1111_ORDERS.split():
        tour("POST", f"/sdapi/v1/{name}", json={})
    for name in ("version", "settings", "model_list", "module_list"):
        tour("GET", f"/controlnet/{name}")
    tour("POST", "/sdapi/v1/options", json={"sd_model_checkpoint": tour.model, "enable_pnginfo": True})
    drawn = tour("POST", "/sdapi/v1/txt2img", json={"prompt": "a red apple"})
    tour("POST", "/sdapi/v1/img2img", json={"prompt": "a red apple", "init_images": [tour.data_url]})
    for picture in (drawn["images"][0], tour.data_url):
        tour("POST", "/sdapi/v1/png-info", json={"image": picture})


def pages(tour: Tour) -> None:
    """Call the pages and their forms."""
    for path in ("account", "bulk", "conversation", "gallery", "grid", "models", "queue", "sign-in"):
        tour("GET", f"/{path}")
    [asset, *_] = names_in(r'(?:src|href)="(/static/[^"]+)"', tour("GET", "/"))
    for path in (asset, f"/texts/{texts_in('de').name}", "/service-worker.js", "/offline"):
        tour("GET", path)
    drawn = tour.client.post("/draw", data={"prompt": "a red apple", "model": tour.model})
    tour.note("POST", "/draw")
    tour("GET", drawn.headers["Location"])
    tour("POST", "/language", data={"language": "de"})
    for path, form in (("/session", {"key": tour.key}), ("/session/end", {})):
        tour("POST", path, data=form)

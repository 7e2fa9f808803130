"""Examples of answers for the OpenAPI document: made from the schemas, with values by the names of their members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

JSON: Final = "application/json"
MISSING: Final = "…"
"""Stands for a text that has no value here; a test finds it."""
TIMES: Final = {"date-time": "2026-11-26T02:34:11.558992Z", "date": "2026-11-26"}
JOB: Final = "job_01m8av83q74b699dta3m9gmtqa"
IMAGE: Final = "img_01m8av84g0gcnnvphz94denatd"
ENDPOINT: Final = "we_01m8bac8n0hjbars23mjb7jykv"
BULK: Final = "bulk_01m8av9d2m0k4v3p6f7q8r9s1t"
CONVERSATION: Final = "conv_01m8av9c6q5n7w8x9y0z1a2b3c"
DELIVERY: Final = "whd_01m8bac8n0hjbars23mjb7jykv"
HOOK: Final = "https://shop.example/hook"
STREAM: Final = (
    "retry: 2000\n\n"
    f'id: 41\nevent: job\ndata: {{"id": "{JOB}", "status": "running", "version": 2}}\n\n'
    f'id: 41\nevent: progress\ndata: {{"id": "{JOB}", "progress": {{"done": 4, "total": 8}}}}\n\n'
    f'id: 42\nevent: job\ndata: {{"id": "{JOB}", "status": "succeeded", "version": 3}}\n\n'
    f'id: 43\nevent: bulk\ndata: {{"id": "{BULK}"}}\n\n'
    f'id: 44\nevent: deleted\ndata: {{"id": "{JOB}"}}\n\n'
    "id: 90\nevent: reset\ndata: {}\n\n"
    ": keepalive\n\n"
)
"""A stream with an event of each type."""

VALUES: Final[dict[str, Any]] = {
    "AuditEntryView.action": "key_created",
    "AuditEntryView.actor": "operator",
    "AuditEntryView.detail": {"label": "shop", "scopes": ["read", "submit"]},
    "AuditEntryView.id": "1",
    "AuditEntryView.subject": "3f9a1c2b7d5e",
    "BulkView.counts": {"queued": 2, "running": 1, "succeeded": 97, "failed": 0, "canceled": 0},
    "BulkView.id": BULK,
    "BulkView.links": {"self": f"/api/v1/bulks/{BULK}", "results": f"/api/v1/bulks/{BULK}/results"},
    "BulkView.status": "running",
    "BulkView.total": 100,
    "CanceledView.canceled": 12,
    "CancellationView.canceled": 34_000,
    "CancellationView.id": "cancel_01m8av83q74b699dta3m9gmtqa",
    "CancellationView.status": "running",
    "CreatedKey.id": "8d21f04ac6b9",
    "ConversationView.id": CONVERSATION,
    "ConversationView.links": {"messages": f"/api/v1/conversations/{CONVERSATION}/messages"},
    "ConversationView.title": "a red car",
    "DeliveryView.id": DELIVERY,
    "DeliveryDetail.id": DELIVERY,
    "EndpointTest.status_code": 204,
    "EndpointView.id": ENDPOINT,
    "EndpointWithSecret.id": ENDPOINT,
    "DeletedEndpoint.id": ENDPOINT,
    "ExplanationView.ahead": 3,
    "ExplanationView.lane": "normal",
    "ExplanationView.message": "3 jobs are ahead of it.",
    "ExplanationView.reason": "queued",
    "ExplanationView.status": "queued",
    "ImageView.id": IMAGE,
    "KeyView.id": "3f9a1c2b7d5e",
    "KnownNames.items": ["apple", "red apple", "sailboat"],
    "LaneView.lane": "normal",
    "ModelView.adapters": [],
    "ModelView.default_cost": 128,
    "ModelView.guidance": {"min": 1, "max": 12, "default": 3},
    "ModelView.max_retries": {"min": 0, "max": 10, "default": 5},
    "ModelView.name": "limner-flow",
    "ModelView.schedulers": [],
    "ModelView.steps": {"min": 1, "max": 100, "default": 8},
    "PauseView.id": "pause_01m8av83q74b699dta3m9gmtqa",
    "QueueView.title": "Limner flow",
    "RotatedKey.id": "8d21f04ac6b9",
    "RotatedKey.replaces": "3f9a1c2b7d5e",
    "SimilarImageView.id": IMAGE,
    "SeenName.name": "red apple",
    "TenantQueueView.tenant": "shop",
    "PresetView.name": "four flat ones",
    "TurnView.id": "turn_01m8av9c6q5n7w8x9y0z1a2b3c",
    "WorkerView.closed": [],
    "WorkerView.id": "worker-1",
    "WorkerView.stalled": [],
    "DeliveryDetail.state": "delivered",
    "DeliveryView.state": "delivered",
    "HeldJobView.id": JOB,
    "JobView.status": "succeeded",
    "JobView.adapters": [],
    "JobView.given": [],
    "JobView.priority": "normal",
    "JobView.style": "flat",
    "JobView.version": 3,
    "AttemptView.status": 204,
    "BulkEstimateView.jobs": 100,
    "DayJobs.jobs": 40,
    "EtaView.median_seconds": 3.1,
    "EtaView.p90_seconds": 4.0,
    "ImageView.style": "flat",
    "Interpretation.backend": "rules",
    "MemoryView.total": 24_000_000_000,
    "MemoryView.used": 6_000_000_000,
    "RateView.jobs": 200,
    "RateView.jobs_per_minute": 85.7,
    "RateView.median_seconds": 0.7,
    "Retried.jobs": [JOB],
    "JobView.started_at": TIMES["date-time"],
    "JobView.finished_at": TIMES["date-time"],
    # By the name alone.
    "actor": "operator",
    "bytes": 43_382,
    "description": "Draws single things and small scenes.",
    "device": "cpu",
    "dropped_negative": "",
    "event": "evt_01m8bac8n0hjbars23mjb7jykv",
    "event_type": "job.succeeded",
    "event_types": ["job.succeeded"],
    "guidance": 3.0,
    "height": 256,
    "id": JOB,
    "image": IMAGE,
    "job": JOB,
    "key": "lmn_3f9a1c2b7d5e_secret",
    "label": "shop",
    "language": "en",
    "licence": "Apache-2.0",
    "links": {"self": f"/api/v1/jobs/{JOB}", "cancel": f"/api/v1/jobs/{JOB}/cancel"},
    "max_images": 16,
    "max_prompt_chars": 500,
    "media_type": "image/png",
    "message": "a red car",
    "metadata": {"project": "fruit"},
    "model": "limner-flow",
    "models": ["limner-flow"],
    "name": "shop",
    "negative_prompt": "",
    "prompt": "a red apple",
    "receipt": {"device": "cpu", "dtype": "float32", "sampler": "euler", "seed": 7, "buckets": [[1, 8]]},
    "reference_images": [],
    "request_headers": {"webhook-id": "evt_01m8bac8n0hjbars23mjb7jykv", "webhook-timestamp": "1795676316"},
    "same_at_every_size": True,
    "secret": "whsec_bGltbmVyLWV4YW1wbGUtc2VjcmV0",
    "seed": 7,
    "sha256": "20217ba730a54926d024f7362cf582ea242ddf895ae0234e85086ffb11f2a680",
    "signing_secret": "whsec_bGltbmVyLWV4YW1wbGUtc2VjcmV0",
    "similarity": 0.9312,
    "likeness": 0.61,
    "sizes": ["256x256", "64x64"],
    "steps": 8,
    "styles": ["flat", "noto", "3d"],
    "styles_by_seed": ["flat", "noto"],
    "tag": "client work",
    "tags": ["client work"],
    "tasks": ["text-to-image"],
    "title": "Limner flow",
    "webhook_endpoint_id": ENDPOINT,
    "width": 256,
}
"""The value of a member, by its schema and name or by its name alone; others are made from their schemas."""
URLS: Final = {
    "ImageView": f"/api/v1/images/{IMAGE}",
    "CoverView": f"/api/v1/images/{IMAGE}?format=webp&width=384",
    "ImageLink": "/images/aW1nXzAxbThhdjg0.4c1f0a",
    "SimilarImageView": f"/api/v1/images/{IMAGE}",
}
"""The value of `url`, by its schema; elsewhere it is that of a webhook."""
SHOWN: Final = frozenset(("eta", "rate", "job", "memory", "cover"))
"""Members that consist of others and are shown although they may be null."""
WAITS: Final[dict[str, Any]] = {"status": "queued", "version": 1, "started_at": None, "finished_at": None, "images": []}
BY_OPERATION: Final[dict[str, dict[str, Any]]] = {
    "create_job": WAITS,
    "replay_job": WAITS,
    "set_priority": WAITS,
    "cancel_job": WAITS | {"status": "canceled"},
    "healthz": {"status": "ok"},
    "readyz": {"status": "ok"},
}
"""Members of an answer that differ in one operation."""


def add_examples(document: dict[str, Any]) -> None:
    """Give each answer in JSON, and the stream of events, an example."""
    schemas: dict[str, Any] = document["components"]["schemas"]
    for operations in document["paths"].values():
        for operation in operations.values():
            differs = BY_OPERATION.get(operation["operationId"], {})
            for status, answer in operation["responses"].items():
                for kind, content in answer.get("content", {}).items():
                    if kind == "text/event-stream":
                        content["example"] = STREAM
                    elif kind == JSON and status.startswith("2"):
                        made = _example(content.get("schema", {}), schemas)
                        content["example"] = made | differs if isinstance(made, dict) else differs


def _example(schema: Mapping[str, Any], schemas: Mapping[str, Any], owner: str = "", name: str = "") -> Any:
    """An example of a schema, which is that of the member `name` of `owner`."""
    if "$ref" in schema:
        owner = schema["$ref"].rpartition("/")[2]
        return _example(schemas[owner], schemas, owner)
    if "properties" in schema:
        return {each: _member(part, schemas, owner, each) for each, part in schema["properties"].items()}
    if "items" in schema:
        return [_example(schema["items"], schemas, owner, name)]
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    simple: dict[str, Any] = {"integer": 1, "number": 1.5, "boolean": False, "object": {}, "null": None}
    return simple.get(schema.get("type", "object"), TIMES.get(schema.get("format", ""), MISSING))


def _member(schema: Mapping[str, Any], schemas: Mapping[str, Any], owner: str, name: str) -> Any:
    """The example of a member. One that may be null is, unless it is to be shown."""
    if f"{owner}.{name}" in VALUES:
        return VALUES[f"{owner}.{name}"]
    kinds: list[dict[str, Any]] = schema.get("anyOf", [])
    if {"type": "null"} in kinds:
        nested = [kind for kind in kinds if "$ref" in kind and name in SHOWN]
        return _example(nested[0], schemas) if nested else None
    if name == "url":
        return URLS.get(owner, HOOK)
    is_nested = "$ref" in schema or "$ref" in schema.get("items", {})
    return VALUES[name] if name in VALUES and not is_nested else _example(schema, schemas, owner, name)

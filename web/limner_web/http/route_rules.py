"""What every route declares: the body that it reads, who may call it, and the slots that it holds.

`create_app` refuses a route that is missing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from flask import Flask, request


class Body(Enum):
    """What a route reads. Requiring JSON also stops forms on other sites, which cannot send that content type."""

    NONE = "nothing"
    JSON = "one JSON object"
    JSON_OR_FORM = "one JSON object, or a form with files"
    FORM = "a form, which its handler checks"
    FILE = "a form with a large file, which its handler checks"
    LINES = "JSON Lines, which its handler reads as they come"


class Access(Enum):
    """Who may call a route."""

    PUBLIC = "everyone: the route needs no tenant, or checks that itself"
    PAGE = "browsers; without a key it leads to the sign-in page"
    PAGE_WITH_JOBS = "browsers whose key may read"
    ANY_KEY = "keys of any scope"
    KEY = "keys that may read, or submit where something is changed"
    ADMIN = "keys with the scope admin"
    OPERATOR = "the operator's own keys with the scope admin"


class Slots(Enum):
    """What a request holds while it is handled."""

    NONE = ()
    REQUEST = ("requests",)
    WAITS = ("requests", "streams")
    STREAM = ("streams",)
    UPLOAD = ("bulks",)


@dataclass(frozen=True, slots=True)
class Route:
    """The declaration of a route. It holds `slots`, or those of a waiting request if the client asks for a wait: by
    the parameter `waits_by` in the query, or by `wait` in the header `Prefer`.
    """

    body: Body = Body.NONE
    access: Access = Access.KEY
    slots: Slots = Slots.REQUEST
    waits_by: str = ""

    def slots_of_request(self) -> tuple[str, ...]:
        """The kinds of slots that this request needs."""
        return (Slots.WAITS if self._waits else self.slots).value

    @property
    def _waits(self) -> bool:
        if self.waits_by == PREFER:
            return "wait" in request.headers.get(PREFER, "").lower()
        return bool(self.waits_by) and self.waits_by in request.args


PREFER: Final = "Prefer"
PLAIN: Final = Route()
ADMIN: Final = Route(access=Access.ADMIN)
OPERATOR: Final = Route(access=Access.OPERATOR)
PUBLIC: Final = Route(access=Access.PUBLIC)
ALWAYS: Final = Route(access=Access.PUBLIC, slots=Slots.NONE)
PAGE: Final = Route(access=Access.PAGE)
JSON: Final = Route(Body.JSON)
WAITING: Final = Route(Body.JSON, slots=Slots.WAITS)
DOWNLOAD: Final = Route(slots=Slots.STREAM)
PREDICTION: Final = Route(Body.JSON, waits_by=PREFER)

DECLARED: Final[dict[Route, str]] = {
    PLAIN: """
        jobs.delete_job jobs.cancel_job jobs.explain_job jobs.get_receipts jobs.replay_job
        job_pictures.get_input job_pictures.get_preview
        bulks.list_bulks bulks.get_bulk bulks.cancel_bulk bulks.pause_bulk bulks.resume_bulk
        cancellations.list_cancellations cancellations.get_cancellation cancellations.stop_cancellation
        conversations.list_conversations conversations.get_conversation conversations.delete_conversation
        estimates.get_estimate similar_images.list_similar_images images.get_image images.delete_image images.get_link
        labels.mark_image labels.unmark_image labels.tag_image labels.untag_image labels.mark_job labels.unmark_job
        labels.tag_job labels.untag_job labels.list_tags
        models.list_models models.list_names own_pause.get_own_pause own_pause.resume_own_queue privacy.get_privacy
        presets.list_presets presets.delete_preset usage.get_usage
        webhook_deliveries.list_deliveries webhook_deliveries.get_delivery webhook_deliveries.redeliver
        openai_batches.list_batches openai_batches.get_batch openai_batches.cancel_batch
        openai_files.list_files openai_files.get_file openai_files.delete_file
        openai_models.list_models openai_models.get_model
        openai_responses.delete_response openai_responses.cancel_response openai_responses.list_input_items
        replicate.list_predictions replicate.get_prediction replicate.cancel_prediction
        replicate_directory.get_account replicate_directory.list_hardware replicate_directory.list_trainings
        replicate_directory.list_collections replicate_directory.get_collection
        replicate_directory.list_models replicate_directory.search_models replicate_directory.get_model
        replicate_directory.list_versions replicate_directory.get_version
        replicate_directory.list_deployments replicate_directory.get_deployment
        replicate.list_files replicate.get_file replicate.delete_file
        a1111.get_options a1111.list_models a1111.list_samplers a1111.list_schedulers a1111.list_upscalers
        a1111.list_nothing a1111.list_vaes a1111.list_face_restorers a1111.list_realesrgan_models
        a1111.list_hypernetworks a1111.list_embeddings a1111.list_adapters a1111.list_styles a1111.list_scripts
        a1111.get_progress a1111.interrupt a1111.do_nothing a1111.refresh_adapters a1111.refresh_vaes
        a1111.reload_model a1111.unload_model
        a1111_controlnet.get_version a1111_controlnet.get_settings a1111_controlnet.list_networks
        a1111_controlnet.list_modules
    """,
    JSON: """
        jobs.create_job jobs.retry_jobs jobs.set_priority cancellations.cancel_waiting_jobs
        conversations.create_conversation conversations.create_message conversations.rename_conversation
        conversations.edit_turn
        estimates.post_estimate own_pause.pause_own_queue presets.save_preset presets.rename_preset
        webhook_deliveries.redeliver_range
        openai_batches.create_batch openai_moderations.create_moderation
        a1111.set_options a1111.png_info
    """,
    WAITING: """
        interpretation.interpret picture_names.describe_picture
        openai.create_chat_completion openai_images.create_images openai_responses.create_response
        a1111.text_to_image a1111.image_to_image hugging_face.create_picture
    """,
    Route(Body.JSON_OR_FORM, slots=Slots.WAITS): "openai_images.edit_image openai_images.vary_image",
    PREDICTION: """
        replicate.create_prediction replicate.create_model_prediction replicate.create_deployment_prediction
    """,
    Route(waits_by="wait"): "jobs.get_job job_lists.list_jobs",
    Route(waits_by="stream"): "openai_responses.get_response",
    DOWNLOAD: "bulks.get_results events.stream_events openai_files.get_content replicate.stream_prediction",
    Route(Body.LINES, slots=Slots.UPLOAD): "bulks.create_bulk",
    Route(Body.FILE, slots=Slots.UPLOAD): "openai_files.create_file",
    Route(Body.FORM, slots=Slots.UPLOAD): "replicate.upload_file",
    Route(Body.JSON, Access.ANY_KEY): "keys.rotate_key",
    ADMIN: """
        keys.list_keys keys.revoke_key audit.list_entries webhook_secret.get_secret replicate_webhook_secret.get_secret
        webhook_endpoints.list_endpoints webhook_endpoints.get_endpoint webhook_endpoints.delete_endpoint
        webhook_endpoints.list_event_types
        openai_webhook_endpoints.list_endpoints openai_webhook_endpoints.get_endpoint
        openai_webhook_endpoints.delete_endpoint openai_webhook_endpoints.list_event_types
    """,
    Route(Body.JSON, Access.ADMIN): """
        keys.create_key webhook_secret.rotate_secret
        webhook_endpoints.create_endpoint webhook_endpoints.change_endpoint webhook_endpoints.rotate_endpoint_secret
        openai_webhook_endpoints.create_endpoint openai_webhook_endpoints.change_endpoint
        openai_webhook_endpoints.rotate_endpoint_secret
    """,
    Route(Body.JSON, Access.ADMIN, Slots.WAITS): """
        webhook_endpoints.test_endpoint openai_webhook_endpoints.test_endpoint
    """,
    OPERATOR: """
        pauses.list_pauses pauses.resume fleet.list_queues fleet.list_tenant_queues fleet.list_workers
        history.get_history
    """,
    Route(Body.JSON, Access.OPERATOR): "pauses.pause privacy_settings.set_privacy",
    PAGE: """
        pages.index pages.account pages.bulk pages.conversation pages.gallery pages.grid pages.models pages.queue
    """,
    Route(Body.FORM, Access.PAGE): "forms.draw forms.make_key",
    Route(access=Access.PAGE_WITH_JOBS): "forms.job",
    PUBLIC: """
        pages.docs openapi.spec links.get_linked_image assets.static languages.script offline.page offline.worker
        session.sign_in oidc.begin oidc.complete
    """,
    Route(Body.FORM, Access.PUBLIC): "session.open_session session.end_session languages.choose",
    ALWAYS: "health.healthz health.readyz operator.show_metrics operator.list_targets",
}
"""The endpoints of each declaration."""
ROUTES: Final[Mapping[str, Route]] = {
    endpoint: route for route, endpoints in DECLARED.items() for endpoint in endpoints.split()
}
DOORS: Final = ("/v1/", "/sdapi/", "/controlnet/", "/replicate/", "/hf/")
"""The paths of clients that were written for other services."""
PROTECTED: Final = ("/api/", *DOORS)
"""Below these paths, what does not exist is told only to those who have a key."""


def of_request() -> Route:
    """The declaration of this request's route."""
    if request.endpoint is not None:
        return ROUTES[request.endpoint]
    return PLAIN if request.path.startswith(PROTECTED) else PUBLIC


def require_declared(app: Flask) -> None:
    """Raise RuntimeError for a route that is not declared, or for a declaration without a route."""
    wrong = {rule.endpoint for rule in app.url_map.iter_rules()} ^ ROUTES.keys()
    if wrong:
        names = ", ".join(sorted(wrong))
        raise RuntimeError(f"Declare each route in limner_web/http/route_rules.py, and nothing else: {names}.")

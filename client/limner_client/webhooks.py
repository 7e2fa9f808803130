"""The client's calls about webhooks: endpoints, deliveries, repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from limner_shared.domain.webhook_views import (
    DeliveryDetail,
    DeliveryList,
    EndpointList,
    EndpointTest,
    EndpointView,
    EndpointWithSecret,
    Redelivered,
    SecretView,
)

ENDPOINTS: Final = "/api/v1/webhook_endpoints"
DELIVERIES: Final = "/api/v1/webhook_deliveries"
SECRET: Final = "/api/v1/webhook_secret"  # noqa: S105 - a path
TEST_TIMEOUT_SECONDS: Final = 40.0


class Webhooks:
    """Webhooks of one server's tenant. Raises what `Client` raises."""

    def __init__(self, call: Callable[..., Any]) -> None:
        """`call` sends a method, a path and httpx's options, and returns the answer's JSON."""
        self._call = call

    def create(self, name: str, url: str, event_types: Sequence[str]) -> EndpointWithSecret:
        """Create an endpoint; its secret cannot be shown again."""
        body = {"name": name, "url": url, "event_types": list(event_types)}
        return EndpointWithSecret.model_validate(self._call("POST", ENDPOINTS, json=body))

    def endpoints(self) -> list[EndpointView]:
        """Return all endpoints, newest first."""
        return EndpointList.model_validate(self._call("GET", ENDPOINTS, params={"limit": 100})).data

    def rotate(self, endpoint_id: str, overlap_seconds: int) -> EndpointWithSecret:
        """Replace an endpoint's secret; the old one signs too until the overlap ends."""
        body = {"overlap_seconds": overlap_seconds}
        return EndpointWithSecret.model_validate(
            self._call("POST", f"{ENDPOINTS}/{endpoint_id}/rotate_secret", json=body)
        )

    def test(self, endpoint_id: str, event_type: str) -> EndpointTest:
        """Send a test event and return what the endpoint answered."""
        body, timeout = {"event_type": event_type}, TEST_TIMEOUT_SECONDS
        answer = self._call("POST", f"{ENDPOINTS}/{endpoint_id}/test", json=body, timeout=timeout)
        return EndpointTest.model_validate(answer)

    def delete(self, endpoint_id: str) -> None:
        """Delete an endpoint."""
        self._call("DELETE", f"{ENDPOINTS}/{endpoint_id}")

    def secret(self) -> str:
        """Return the secret that signs the webhooks of jobs and bulks."""
        return SecretView.model_validate(self._call("GET", SECRET)).secret

    def rotate_secret(self, overlap_seconds: int) -> str:
        """Replace the secret of jobs' and bulks' webhooks."""
        body = {"overlap_seconds": overlap_seconds}
        return SecretView.model_validate(self._call("POST", f"{SECRET}/rotate", json=body)).secret

    def deliveries(self, **filters: str | int | None) -> DeliveryList:
        """Return a page of deliveries, newest first; filters as in the API, those that are None do not apply."""
        params = {name: value for name, value in filters.items() if value is not None}
        return DeliveryList.model_validate(self._call("GET", DELIVERIES, params=params))

    def delivery(self, delivery_id: str) -> DeliveryDetail:
        """Return a delivery with its request and all answers."""
        return DeliveryDetail.model_validate(self._call("GET", f"{DELIVERIES}/{delivery_id}"))

    def redeliver(self, delivery_id: str) -> DeliveryDetail:
        """Send a delivery again."""
        return DeliveryDetail.model_validate(self._call("POST", f"{DELIVERIES}/{delivery_id}/redeliver"))

    def redeliver_range(self, chosen: Mapping[str, str | None]) -> Iterator[int]:
        """Send the deliveries of a time range again; yields how many each request has queued."""
        body = {name: value for name, value in chosen.items() if value is not None}
        while True:
            answer = Redelivered.model_validate(self._call("POST", f"{DELIVERIES}/redeliver", json=body))
            yield answer.count
            if answer.next is None:
                return
            body["cursor"] = answer.next

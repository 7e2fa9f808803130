"""`limner doctor --server`: the findings about a running service that its HTTP server gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, cast

import httpx
from pydantic import ValidationError

from limner_client.certificates import trusted
from limner_client.local.doctor import FULL_ADVICE, dispatcher_checks, worker_checks
from limner_client.local.findings import Check, State
from limner_client.local.picture_checks import store_advice
from limner_shared.domain.fleet_views import QueueList, QueueView, WorkerList, WorkerView
from limner_shared.errors import InvalidRequest
from limner_shared.messaging.reports import STORE, WorkerReport
from limner_shared.settings import is_loopback

LONG_WAIT_SECONDS: Final = 900.0
"""A job that has waited longer than this, while workers serve its model, is worth a look."""
PUBLIC_PORT_ADVICE: Final = "Give the web server's own address, and an admin key, to see each worker and queue."
TIMEOUT: Final = httpx.Timeout(10, connect=5)


def connect(server: str) -> httpx.Client:
    """Return a client of a server, for `examine`. Raises InvalidRequest for an address that is none."""
    url = (server if "://" in server else f"http://{server}").rstrip("/")
    try:
        host = httpx.URL(url).host
    except httpx.InvalidURL as error:
        raise InvalidRequest(f"--server: {server} is not an address: {error}.") from error
    # Proxy settings of the environment do not apply to a server on loopback.
    return httpx.Client(base_url=url, timeout=TIMEOUT, trust_env=not is_loopback(host), verify=trusted())


def examine(http: httpx.Client, key: str, metrics_key: str) -> Iterator[Check]:
    """Ask a server, and yield the findings. Changes nothing.

    Where keys are required, only an admin key of the tenant `local` shows each worker and queue. The metrics need
    `metrics_key`, except on the operator's port.
    """
    ready = _readiness(http)
    if isinstance(ready, Check):
        yield ready
        return
    yield _server(http, ready)
    yield from _stores(ready)
    yield from _load(ready)
    yield from _dispatchers(_mapping(ready, "dispatchers"))
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    yield from _workers(http, headers, _mapping(ready, "workers"))
    yield from _queues(http, headers)
    yield _paused(_mapping(ready, "paused"))
    yield _metrics(http, metrics_key)


def _readiness(http: httpx.Client) -> dict[str, Any] | Check:
    """The body of `/readyz`, or why there is none."""
    try:
        answer = http.get("/readyz")
    except httpx.HTTPError as error:
        advice = "Check the address, and that the web server and the proxy before it run."
        return Check("server", State.FAIL, f"{http.base_url} does not answer: {error}", advice)
    try:
        body: Any = answer.json()
    except ValueError:
        body = None
    if isinstance(body, dict) and "database" in body:
        return cast("dict[str, Any]", body)
    advice = "Is it the address of a Limner, without a path? A proxy must pass /readyz on."
    return Check("server", State.FAIL, f"{http.base_url} is not a Limner: status {answer.status_code}", advice)


def _server(http: httpx.Client, ready: Mapping[str, Any]) -> Check:
    """Whether the threads of the web process that has answered make progress."""
    if stalled := ready.get("stalled"):
        advice = "Its log says what it waits for: events, batches and waiting requests may be late."
        return Check("server", State.FAIL, f"{http.base_url} answers; stalled: {', '.join(stalled)}", advice)
    return Check("server", State.OK, f"{http.base_url} answers")


def _mapping(ready: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = ready.get(name)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _stores(ready: Mapping[str, Any]) -> Iterator[Check]:
    database, redis = str(ready["database"]), str(ready.get("redis"))
    if database == "ok":
        yield Check("database", State.OK, "answers, schema is current")
    elif database == "away":
        yield Check("database", State.FAIL, "away", "Check LIMNER_DATABASE_URL and that the server runs.")
    elif database == "full":
        yield Check("database", State.FAIL, "its disk is full", FULL_ADVICE)
    else:
        yield Check("database", State.FAIL, database, "Run `limner db upgrade`.")
    if redis == "ok":
        yield Check("redis", State.OK, "answers")
    else:
        advice = "Check LIMNER_REDIS_URL, that the server runs and has room. Jobs run without it, more slowly."
        yield Check("redis", State.FAIL, redis, advice)
    reasons = [str(reason) for reason in ready.get("store_reasons") or ["other"]]
    if ready.get("store", "ok") == "ok":
        yield Check("pictures", State.OK, "the store does not fail")
    else:
        yield Check("pictures", State.FAIL, f"the store fails: {', '.join(reasons)}", store_advice(reasons[0]))


def _load(ready: Mapping[str, Any]) -> Iterator[Check]:
    for kind, slots in _mapping(ready, "load").items():
        held, limit = slots.get("held", 0), slots.get("limit", 0)
        found = f"{held} of {limit}"
        if limit and held >= limit:
            yield Check(
                kind, State.FAIL, f"{found}: full", f"Start more web servers, or raise LIMNER_MAX_{kind.upper()}."
            )
        else:
            yield Check(kind, State.OK, found)


def _dispatchers(found: Mapping[str, Any]) -> Iterator[Check]:
    if not found.get("running"):
        yield from dispatcher_checks([])
        return
    name, leads = "dispatcher", ", ".join(found.get("leads", ())) or "nothing"
    if stalled := found.get("stalled"):
        advice = "Its log says what it waits for: the database or the picture store."
        yield Check(name, State.FAIL, f"blocked on one item: {', '.join(stalled)}", advice)
    elif aside := found.get("set_aside"):
        yield Check(name, State.WARN, f"{aside} set aside", "Its log says why they fail; they are retried.")
    else:
        yield Check(name, State.OK, f"{found['running']} running; they lead {leads}")


def _workers(http: httpx.Client, headers: Mapping[str, str], found: Mapping[str, Any]) -> Iterator[Check]:
    """One finding for each worker, or a summary of all where the key does not show them."""
    answer = _ask(http, "/api/v1/workers", headers)
    if isinstance(answer, Check):
        yield from _summary(found)
        yield answer
        return
    try:
        views = WorkerList.model_validate(answer).items
    except ValidationError:
        yield from _summary(found)
        return
    yield from worker_checks([_report(view) for view in views])


def _report(view: WorkerView) -> WorkerReport:
    shared = view.model_dump(include={"models", "device", "held", "closed", "stalled", "draining"})
    return WorkerReport(owner=view.id, **shared)


def _summary(found: Mapping[str, Any]) -> Iterator[Check]:
    if not found.get("running"):
        yield from worker_checks([])
    elif stalled := found.get("stalled"):
        yield Check("workers", State.FAIL, f"stalled: {', '.join(stalled)}", "Their logs say what they wait for.")
    elif STORE in (paused := found.get("paused") or ()):
        yield Check("workers", State.WARN, "cannot use the picture store", "The finding about the pictures says why.")
    elif paused:
        yield Check("workers", State.WARN, f"paused after failures: {', '.join(paused)}", "Their logs say what failed.")
    else:
        yield Check("workers", State.OK, f"{found['running']} running; {found.get('held', 0)} jobs")


def _queues(http: httpx.Client, headers: Mapping[str, str]) -> Iterator[Check]:
    answer = _ask(http, "/api/v1/queues", headers)
    if isinstance(answer, Check):
        return  # the finding about the workers says what key is needed
    try:
        queues = QueueList.model_validate(answer).items
    except ValidationError:
        yield Check("queues", State.WARN, "cannot be read", "The server has another version than this command.")
        return
    yield from map(_queue, queues)


def _queue(queue: QueueView) -> Check:
    waiting = sum(lane.released + lane.backlog for lane in queue.lanes)
    oldest = max((lane.oldest_seconds for lane in queue.lanes), default=0.0)
    found = f"{queue.running} running, {waiting} waiting" + (f", the oldest for {oldest:.0f} s" if waiting else "")
    name = f"queue {queue.model}"
    if queue.paused is not None:
        return Check(name, State.WARN, f"paused; {found}", "`limner queue resume` ends the pause.")
    if waiting and queue.workers == 0:
        return Check(name, State.FAIL, f"no worker serves it; {found}", "Start `limner worker`, or end a drain.")
    if waiting and oldest > LONG_WAIT_SECONDS:
        return Check(name, State.WARN, found, "Start more workers; `limner top` shows how fast they are.")
    return Check(name, State.OK, found)


def _paused(found: Mapping[str, Any]) -> Check:
    models, tenants = found.get("models", ()), found.get("tenants", 0)
    if not models and not tenants:
        return Check("pauses", State.OK, "nothing is paused")
    words = [*models, *([f"{tenants} tenants"] if tenants else [])]
    return Check("pauses", State.WARN, f"paused: {', '.join(words)}", "`limner queue list` says why and until when.")


def _metrics(http: httpx.Client, key: str) -> Check:
    answer = _ask(http, "/metrics/targets", {"Authorization": f"Bearer {key}"} if key else {})
    if isinstance(answer, Check):
        advice = "Set LIMNER_METRICS_KEY here to the server's, or give the operator's port as --server."
        return Check("metrics", State.WARN, answer.found, advice)
    others = [group for group in answer if group.get("labels", {}).get("job") != "limner-web"]
    addresses = [address for group in others for address in group.get("targets", ())]
    return Check("metrics", State.OK, f"of the web server and {len(addresses)} other processes")


def _ask(http: httpx.Client, path: str, headers: Mapping[str, str]) -> Any:
    """The JSON at a path, or why it cannot be read, as a finding."""
    advice = "Give an admin key of the tenant local, with --key or LIMNER_API_KEY, to see each worker and queue."
    try:
        answer = http.get(path, headers=dict(headers))
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return Check("key", State.WARN, "this is an operator's port: it shows sums only", PUBLIC_PORT_ADVICE)
        if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return Check("key", State.WARN, "this key does not show it" if headers else "a key is needed", advice)
        return answer.raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        return Check("api", State.WARN, f"{path} cannot be read: {error}", "The server's log says why.")

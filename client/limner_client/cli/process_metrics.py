"""Reads the metrics of all processes of a service, and computes what changed between two reads."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from limner_shared.errors import Forbidden, ServiceUnavailable, Unauthorized

WEB: Final = "limner-web"
"""The label `job` of web servers among the targets."""
TARGET_SECONDS: Final = 2.0
"""A process that does not send its metrics within this time is shown as not reachable."""

Key = tuple[str, str, frozenset[tuple[str, str]]]
"""A process's address, the name of a sample, its labels."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All values at one moment."""

    at: float
    values: Mapping[Key, float]
    unreachable: tuple[str, ...] = ()
    """Addresses of processes that are known but did not answer."""

    def samples(self, name: str, **labels: str) -> Iterator[tuple[str, dict[str, str], float]]:
        """The address, labels and value of each sample of this name with these labels."""
        for (address, found, known), value in self.values.items():
            if found == name and labels.items() <= dict(known).items():
                yield address, dict(known), value

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """The sums of a name's samples by one label; `address` is the process's."""
        sums: defaultdict[str, float] = defaultdict(float)
        for address, known, value in self.samples(name, **labels):
            sums[address if label == "address" else known.get(label, "")] += value
        return dict(sums)


@dataclass(frozen=True, slots=True)
class MetricsDelta:
    """What happened between two snapshots. A process that restarted counts from zero."""

    before: Snapshot
    after: Snapshot
    _grown: dict[Key, float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        grown: dict[Key, float] = {}
        for key, value in self.after.values.items():
            earlier = self.before.values.get(key, 0.0)
            grown[key] = value - earlier if value >= earlier else value
        object.__setattr__(self, "_grown", grown)

    @property
    def growth(self) -> Snapshot:
        """The growth of each value."""
        return Snapshot(self.after.at, self._grown)

    def rates(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """The growth each second of a counter, by one label."""
        seconds = max(self.after.at - self.before.at, 1e-3)
        return {key: value / seconds for key, value in self.growth.by(label, name, **labels).items()}

    def quantile(self, share: float, name: str, **labels: str) -> float | None:
        """The upper bound of the bucket that holds a histogram's quantile; None without new observations."""
        buckets = {float(le): count for le, count in self.growth.by("le", f"{name}_bucket", **labels).items()}
        total = buckets.get(float("inf"), 0.0)
        if not total:
            return None
        return min(le for le, count in buckets.items() if count >= share * total)


def read_figures(client: httpx.Client, url: str, key: str) -> Snapshot:
    """Read the metrics of all processes that the web server at `url` knows.

    Those of web servers are read at their own ports, because each read of `url` may reach another one. If none can be
    reached there, the figures are those of the one that answers at `url`.

    Raises ServiceUnavailable, Unauthorized or Forbidden.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answering = _parsed("web", _ask(client, f"{url}/metrics", headers).text)
    targets: list[dict[str, Any]] = _ask(client, f"{url}/metrics/targets", headers).json()
    values: dict[Key, float] = {}
    unreachable: list[str] = []
    kinds: set[str] = set()
    for kind, address in ((group["labels"].get("job", ""), str(one)) for group in targets for one in group["targets"]):
        try:
            answer = client.get(f"http://{address}/metrics", timeout=TARGET_SECONDS)
            values |= _parsed(address, answer.raise_for_status().text)
            kinds.add(kind)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            unreachable.append(address)
    if WEB not in kinds:
        values |= answering
    return Snapshot(time.monotonic(), values, tuple(sorted(unreachable)))


def _ask(client: httpx.Client, url: str, headers: Mapping[str, str]) -> httpx.Response:
    try:
        answer = client.get(url, headers=dict(headers))
    except httpx.HTTPError as error:
        raise ServiceUnavailable(f"{url} cannot be read: {error}. Is the server running?") from error
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        raise Unauthorized("The server needs the operator's key: set LIMNER_METRICS_KEY or --key to the server's.")
    if answer.status_code == HTTPStatus.FORBIDDEN:
        raise Forbidden("The server shows its metrics only on its operator's port, or once LIMNER_METRICS_KEY is set.")
    if not answer.is_success:
        raise ServiceUnavailable(f"{url} answers with status {answer.status_code}: is it a Limner with metrics?")
    return answer


def _parsed(address: str, text: str) -> dict[Key, float]:
    """The samples of Limner's metrics in a text. Raises ServiceUnavailable if it is not in Prometheus's format."""
    try:
        return {
            (address, sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith("limner_")
        }
    except ValueError as error:
        raise ServiceUnavailable(f"{address} sends something else than metrics: {error}") from error

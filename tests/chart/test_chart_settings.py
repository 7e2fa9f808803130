"""The chart's `settings`, and variables of one's own: what a pod gets of them, and which of them are secrets."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from pydantic.fields import FieldInfo

from limner_shared.settings import Settings
from tests.chart.rendering import CHART, Object, helm, of_kind, pod_of, render, values_of, variables, workloads

SCHEMA: Final[Object] = json.loads((CHART / "values.schema.json").read_text("utf-8"))["properties"]
REFUSED: Final = frozenset(SCHEMA["settings"]["propertyNames"]["not"]["enum"])
LARGE: Final = 3_000_000_001
OPEN_URLS: Final = frozenset({"c2pa_timestamp_url", "llm_url", "moderation_url", "public_url", "server_url"})
"""Settings with URLs that hold no password."""
SECRET: Final = sorted(
    name for name, field in Settings.model_fields.items()
    if not field.repr or (name.endswith("_url") and name not in OPEN_URLS)
)  # fmt: skip


def is_unbounded(field: FieldInfo) -> bool:
    """Whether a setting takes any large whole number."""
    whole: tuple[Any, ...] = (int, int | None)
    return field.annotation in whole and not any(hasattr(each, "le") for each in field.metadata)


def test_large_numbers_arrive_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    large = {name for name, field in Settings.model_fields.items() if is_unbounded(field)} - REFUSED - {"web_workers"}
    assert {"max_bulk_bytes", "model_memory_bytes", "max_bulk_lines"} <= large
    given: Object = dict.fromkeys(large, LARGE) | {"dispatch_seconds": 0.25, "metrics_by_tenant": True}
    own = {"environment": {"CACHE_BYTES": LARGE, "RATIO": 0.05, "IS_ON": True}}
    otel = {"environment": {"OTEL_BSP_MAX_QUEUE_SIZE": 2_000_000}}
    objects = render(values_of("minimal") | {"settings": given, "workerDefaults": own, "otel": otel})
    for each in workloads(objects):
        found = variables(each)
        if "LIMNER_MAX_BULK_BYTES" not in found:
            continue
        assert found["OTEL_BSP_MAX_QUEUE_SIZE"] == "2000000"
        with monkeypatch.context() as patch:
            for name, value in found.items():
                patch.setenv(name, value if isinstance(value, str) else "")
            settings = Settings()
        assert {name: getattr(settings, name) for name in given} == given
    [worker] = [each for each in objects if each["kind"] == "Deployment" and "worker" in each["metadata"]["name"]]
    found: dict[str, Any] = variables(worker)
    assert [found[name] for name in ("CACHE_BYTES", "RATIO", "IS_ON")] == [str(LARGE), "0.05", "true"]


@pytest.mark.parametrize("name", SECRET)
def test_a_secret_setting_is_no_value(name: str) -> None:
    minimal = values_of("minimal")
    for values in (
        {"settings": {name: "secret"}},
        {"workerDefaults": {"environment": {f"LIMNER_{name.upper()}": "secret"}}},
        {"workers": {"cpu": {"environment": {f"LIMNER_{name.upper()}": "secret"}}}},
    ):
        with pytest.raises(helm.HelmError, match=f"(?i){name}"):
            render(minimal | values)


def test_secret_settings_reach_all_processes_and_the_migration_as_variables() -> None:
    objects = render(values_of("minimal") | {"environmentSecrets": ["limner-direct"]})
    [job] = of_kind(objects, "Job")
    assert job in workloads(objects)
    for each in workloads(objects):
        assert pod_of(each)["containers"][0]["envFrom"] == [{"secretRef": {"name": "limner-direct"}}]
        assert "LIMNER_DATABASE_DIRECT_URL" not in variables(each), "it would replace that of the secret"

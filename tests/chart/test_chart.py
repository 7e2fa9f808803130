"""The Helm chart: rendered by Helm's own SDK, and every object checked against its schema. `make chart` runs this."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml

from limner_shared.domain.catalogue import load_card
from limner_shared.metrics.instruments import ALL
from limner_shared.settings import Settings
from tests.chart.rendering import CHART, Object, helm, of_kind, pod_of, render, values_of, variables, workloads

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="the group `chart` is not installed")

ROOT: Final = Path(__file__).parents[2]
SNAPSHOTS: Final = Path(__file__).parent / "snapshots"
VALUES: Final = sorted((CHART / "ci").glob("*.yaml"))
KUBERNETES: Final = "1.37"
NODE_MODULES: Final = ROOT / "dist" / "crds" / "node_modules" / "@kubernetes-models"
KEDA: Final = "keda/_schemas/ComGithubKedacoreKedaV2ApisKedaV1alpha1"
OPERATOR: Final = "prometheus-operator/_schemas/ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1"
CUSTOM: Final = {
    "ScaledObject": KEDA,
    "TriggerAuthentication": KEDA,
    "ServiceMonitor": OPERATOR,
    "PodMonitor": OPERATOR,
    "PrometheusRule": OPERATOR,
}
"""Kinds that Kubernetes does not have, and where their schemas are, compiled from their CRDs."""

CHECK: Final = """
import {validate} from %s;
if (!validate(JSON.parse(process.argv[1]))) { console.log(JSON.stringify(validate.errors)); process.exit(1); }
"""


@pytest.fixture(scope="module", params=VALUES, ids=lambda file: file.stem)
def rendered(request: pytest.FixtureRequest) -> tuple[str, list[Object]]:
    """The name of a value set, and its objects."""
    return request.param.stem, render(values_of(request.param.stem))


def test_helm_finds_no_fault_in_the_chart() -> None:
    for file in VALUES:
        found = helm.lint(str(CHART), values_of(file.stem), strict=True)
        assert found["errors"] == []
        assert [each for each in found["messages"] if "icon" not in each["error"]] == []


def test_every_object_is_valid_for_kubernetes(rendered: tuple[str, list[Object]]) -> None:
    for each in rendered[1]:
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_every_custom_object_is_valid_by_the_schema_of_its_crd(rendered: tuple[str, list[Object]]) -> None:
    custom = [each for each in rendered[1] if each["kind"] in CUSTOM]
    if not NODE_MODULES.is_dir() or shutil.which("node") is None:
        pytest.skip("the schemas of the CRDs are not installed: make chart")
    for each in custom:
        module = NODE_MODULES / f"{CUSTOM[each['kind']]}{each['kind']}.js"
        command = ["node", "--input-type=module", "-e", CHECK % json.dumps(str(module)), json.dumps(each)]
        checked = subprocess.run(command, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_custom_object_has_a_field_that_its_crd_does_not_know(tmp_path: Path) -> None:
    compiler = NODE_MODULES.parent / "typescript" / "lib" / "tsc.js"
    if not compiler.exists() or shutil.which("node") is None:
        pytest.skip("the types of the CRDs are not installed: make chart")
    objects = [each for file in VALUES for each in render(values_of(file.stem)) if each["kind"] in CUSTOM]
    assert {each["kind"] for each in objects} == set(CUSTOM)
    file = tmp_path / "objects.ts"

    def unknown(some: list[Object]) -> str:
        lines = [
            f"const o{n}: import({_type_of(one)}).I{one['kind']} = {json.dumps(one)};" for n, one in enumerate(some)
        ]
        file.write_text("\n".join(lines))
        options = ["--noEmit", "--skipLibCheck", "--strict", "--module", "esnext", "--moduleResolution", "bundler"]
        return subprocess.run(["node", compiler, *options, file], capture_output=True, text=True, check=False).stdout

    assert unknown(objects) == ""
    objects[0]["spec"]["pollInterval"] = 30
    assert "pollInterval" in unknown(objects)


def _type_of(one: Object) -> str:
    package = "keda" if one["apiVersion"].startswith("keda.sh/") else "prometheus-operator"
    return json.dumps(str(NODE_MODULES / package / one["apiVersion"] / one["kind"]))


def test_the_objects_are_those_of_the_snapshot(rendered: tuple[str, list[Object]]) -> None:
    name, objects = rendered
    file = SNAPSHOTS / f"{name}.yaml"
    stated = [each for each in objects if not each["metadata"]["name"].endswith("-dashboard")]
    found = yaml.safe_dump_all(stated, sort_keys=True, width=100)
    if not file.exists():
        file.write_text(found, "utf-8")
    assert found == file.read_text("utf-8"), f"if this is right: delete {file} and run the test again"


def test_pods_run_without_rights_on_a_read_only_root(rendered: tuple[str, list[Object]]) -> None:
    for each in [*workloads(rendered[1]), *of_kind(rendered[1], "StatefulSet")]:
        pod = pod_of(each)
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"].get("limits", {}) or rendered[0] == "autoscaled"


def test_every_variable_is_a_setting_and_no_secret_is_a_value(rendered: tuple[str, list[Object]]) -> None:
    secret = re.compile("URL$|KEY$|PASSWORD")
    for each in workloads(rendered[1]):
        for name, value in variables(each).items():
            if name.startswith("OTEL_"):
                continue
            assert name == "VALKEY_PASSWORD" or name.removeprefix("LIMNER_").lower() in Settings.model_fields, name
            plain = isinstance(value, str) and secret.search(name) is not None
            assert not plain or name in ("LIMNER_BLOB_URL", "LIMNER_REDIS_URL", "LIMNER_PUBLIC_URL", "LIMNER_C2PA_KEY")
            assert name != "LIMNER_REDIS_URL" or not plain or "$(VALKEY_PASSWORD)" in value


def test_the_settings_of_a_pod_are_accepted(
    rendered: tuple[str, list[Object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in workloads(rendered[1]):
        for name, value in variables(each).items():
            monkeypatch.setenv(name, value if isinstance(value, str) else "")
        Settings()


def test_the_schema_of_the_database_is_upgraded_before_anything_else(rendered: tuple[str, list[Object]]) -> None:
    [job] = of_kind(rendered[1], "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert pod_of(job)["containers"][0]["args"] == ["limner", "db", "upgrade"]


def test_a_worker_has_the_time_that_it_needs_to_hand_its_jobs_back(rendered: tuple[str, list[Object]]) -> None:
    for each in of_kind(rendered[1], "Deployment", "-worker-"):
        found = variables(each)
        needed = int(found["LIMNER_SHUTDOWN_SECONDS"]) + int(found["LIMNER_STEP_TIMEOUT_SECONDS"])
        assert pod_of(each)["terminationGracePeriodSeconds"] > needed


def test_a_web_pod_has_the_time_that_its_waiting_calls_have(rendered: tuple[str, list[Object]]) -> None:
    web = of_kind(rendered[1], "Deployment", "-web")[0]
    waits = pod_of(web)["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod_of(web)["terminationGracePeriodSeconds"] > waits + int(variables(web)["LIMNER_WEB_SHUTDOWN_SECONDS"])


@pytest.mark.parametrize("changed", [{}, {"max_bulks": 3, "max_bulk_bytes": (2 << 30) + 1}])
def test_a_web_pod_has_room_for_all_uploads_that_it_accepts_at_once(changed: Object) -> None:
    values = values_of("minimal") | {"settings": changed, "web": {"processes": 3}}
    [web] = of_kind(render(values), "Deployment", "web")
    [room] = [each["emptyDir"]["sizeLimit"] for each in pod_of(web)["volumes"] if each["name"] == "tmp"]
    settings = Settings(**changed)
    uploads = 3 * settings.max_bulks * settings.max_bulk_bytes
    assert uploads + (1 << 30) <= int(room.removesuffix("Mi")) << 20 < uploads + (1 << 30) + (1 << 20)
    assert pod_of(web)["containers"][0]["resources"]["requests"]["ephemeral-storage"] == room
    own = {"resources": {"requests": {"ephemeral-storage": "4Gi"}}}
    [web] = of_kind(render(values | {"web": own}), "Deployment", "web")
    assert pod_of(web)["containers"][0]["resources"]["requests"]["ephemeral-storage"] == "4Gi"


def test_probes_ask_the_routes_that_mean_progress(rendered: tuple[str, list[Object]]) -> None:
    for each in of_kind(rendered[1], "Deployment"):
        [container] = pod_of(each)["containers"]
        probes = {
            kind: (container[kind]["httpGet"]["path"], container[kind]["httpGet"]["port"])
            for kind in ("startupProbe", "livenessProbe", "readinessProbe")
        }
        if container["name"] == "web":
            assert probes["readinessProbe"] == ("/readyz", "http")
            assert container["lifecycle"]["preStop"]["sleep"]["seconds"] > 0
        else:
            assert set(probes.values()) == {("/healthz", "metrics")}


def test_without_a_bucket_or_with_an_unknown_value_nothing_is_installed() -> None:
    cases: list[tuple[Object, str]] = [
        ({}, "blobUrl"),
        ({"blobUrl": "/data/blobs"}, "blobUrl"),
        (values_of("minimal") | {"databse": {}}, "databse"),
        (values_of("minimal") | {"settings": {"database_url": "postgresql://user:password@host/name"}}, "database_url"),
        (values_of("minimal") | {"workers": {"cpu": {"replicas": -1}}}, "replicas"),
        (values_of("minimal") | {"workers": {"cpu": {"autoscaling": {"enabled": True}}}}, "name the models"),
    ]
    for values, why in cases:
        with pytest.raises(helm.HelmError, match=why):
            render(values)


def test_several_dispatchers_stand_by_and_are_never_all_evicted() -> None:
    objects = render(values_of("minimal"))
    [dispatcher] = of_kind(objects, "Deployment", "dispatcher")
    assert dispatcher["spec"]["replicas"] == 2
    budgets = of_kind(objects, "PodDisruptionBudget")
    parts = ("dispatcher", "web", "worker-cpu")
    assert {each["metadata"]["name"] for each in budgets} == {f"pictures-limner-{part}" for part in parts}
    assert all(each["spec"]["maxUnavailable"] == 1 for each in budgets)
    assert {each["topologyKey"] for each in pod_of(dispatcher)["topologySpreadConstraints"]} == {
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    }


def test_each_pool_serves_its_own_models_on_its_own_nodes() -> None:
    objects = render(values_of("gpu"))
    [gpu], [cpu] = (of_kind(objects, "Deployment", f"-worker-{pool}") for pool in ("sdxl", "cpu"))
    assert pod_of(gpu)["containers"][0]["args"] == ["limner", "worker", "--model=sdxl"]
    assert pod_of(gpu)["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod_of(gpu)["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert gpu["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    assert gpu["spec"]["selector"]["matchLabels"] != cpu["spec"]["selector"]["matchLabels"]
    assert pod_of(gpu)["containers"][0]["image"].startswith("limner-worker@sha256:")


def test_the_cards_of_the_values_are_valid(tmp_path: Path) -> None:
    [config] = of_kind(render(values_of("gpu")), "ConfigMap")
    for name, content in config["data"].items():
        (tmp_path / name).write_text(content)
        assert load_card(tmp_path / name).name == "sdxl"


def test_a_change_of_cards_starts_new_pods() -> None:
    values = values_of("gpu")
    before = of_kind(render(values), "Deployment", "web")[0]
    changed = values | {"cards": {"sdxl.toml": values["cards"]["sdxl.toml"] + "# changed\n"}}
    after = of_kind(render(changed), "Deployment", "web")[0]
    annotations = [each["spec"]["template"]["metadata"]["annotations"] for each in (before, after)]
    assert annotations[0] != annotations[1]


def test_workers_scale_by_the_seconds_of_work_that_wait() -> None:
    objects = render(values_of("autoscaled"))
    cpu, gpu = of_kind(objects, "ScaledObject")
    assert (cpu["spec"]["minReplicaCount"], gpu["spec"]["minReplicaCount"]) == (1, 0)
    assert [each["metadata"]["threshold"] for each in cpu["spec"]["triggers"]] == ["30", "1"]
    for trigger in cpu["spec"]["triggers"]:
        query = trigger["metadata"]["query"]
        assert 'model=~"limner-flow|limner-gan"' in query
        named = {name.removesuffix("_sum") for name in re.findall(r"limner_\w+", query)}
        assert named <= set(ALL), "the query names a metric that does not exist"
    assert all("replicas" not in each["spec"] for each in of_kind(objects, "Deployment", "-worker-"))


def test_only_those_who_are_named_may_connect() -> None:
    found = of_kind(render(values_of("strict")), "NetworkPolicy")
    policies = {each["metadata"]["name"]: each["spec"] for each in found}
    assert policies["pictures-limner"]["policyTypes"] == ["Ingress", "Egress"]
    [metrics], [web] = (policies[name]["ingress"] for name in ("pictures-limner", "pictures-limner-web"))
    assert metrics["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == "monitoring"
    assert web["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == "ingress-nginx"
    ports = {each["port"] for each in policies["pictures-limner"]["egress"][0]["ports"]}
    assert ports == {53, 443, 4318, 5432, 6379, 11434}


def test_every_process_sends_its_traces_and_their_key_is_not_a_value() -> None:
    values = {"blobUrl": "s3://pictures", "otel": {"endpoint": "https://collector.example/otlp"}}
    for each in of_kind(render(values), "Deployment"):
        assert variables(each)["OTEL_EXPORTER_OTLP_ENDPOINT"] == "https://collector.example/otlp"
    headers = {"environment": {"OTEL_EXPORTER_OTLP_HEADERS": "a=b"}}
    for refused in ({"endpoint": "https://user:word@collector"}, headers):
        with pytest.raises(Exception, match=r"(?i)otel"):
            render({"blobUrl": "s3://pictures", "otel": refused})


def test_streams_are_not_buffered_by_the_ingress() -> None:
    [ingress] = of_kind(render(values_of("bundled")), "Ingress")
    annotations = ingress["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    assert int(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]) > 600
    assert ingress["spec"]["tls"] == [{"hosts": ["pictures.example"], "secretName": "pictures-tls"}]

"""What an operator adds to the chart's pods: files, an account, labels and annotations, where they run."""

from __future__ import annotations

import pytest

from tests.chart.rendering import Object, of_kind, pod_of, render, values_of, workloads

REFUSED: list[Object] = [
    {"extraVolumes": [{"name": "tmp", "emptyDir": {}}]},
    {"extraVolumeMounts": [{"name": "own", "mountPath": "relative"}]},
    {"serviceAccount": {"make": True}},
]
MOUNT: Object = {"name": "own", "mountPath": "/etc/limner", "readOnly": True}


def test_files_of_the_operator_are_in_every_pod_the_migration_included() -> None:
    found = workloads(render(values_of("strict")))
    assert {each["kind"] for each in found} == {"Deployment", "Job"}
    for each in found:
        [container] = pod_of(each)["containers"]
        assert MOUNT in container["volumeMounts"]
        [volume] = [volume for volume in pod_of(each)["volumes"] if volume["name"] == "own"]
        assert volume["projected"]["sources"][1] == {"secret": {"name": "authority"}}


def test_pods_use_the_account_that_has_access_to_the_bucket() -> None:
    objects = render(values_of("strict"))
    [account] = of_kind(objects, "ServiceAccount")
    assert account["metadata"]["annotations"] == values_of("strict")["serviceAccount"]["annotations"]
    for each in of_kind(objects, "Deployment"):
        assert pod_of(each)["serviceAccountName"] == account["metadata"]["name"] == "pictures-limner"
    # The hook runs before the chart's objects exist.
    [migration] = of_kind(objects, "Job")
    assert "serviceAccountName" not in pod_of(migration)


def test_an_account_that_exists_is_used_by_all_and_not_made() -> None:
    objects = render(values_of("minimal") | {"serviceAccount": {"name": "bucket"}})
    assert not of_kind(objects, "ServiceAccount")
    assert {pod_of(each)["serviceAccountName"] for each in workloads(objects)} == {"bucket"}
    assert all("serviceAccountName" not in pod_of(each) for each in workloads(render(values_of("minimal"))))


def test_labels_and_annotations_of_the_operator_are_added_and_replace_none() -> None:
    own = {"podLabels": {"team": "pictures", "app.kubernetes.io/name": "other"}, "podAnnotations": {"note": "1"}}
    for each in workloads(render(values_of("minimal") | own)):
        metadata = each["spec"]["template"]["metadata"]
        assert (metadata["labels"]["team"], metadata["labels"]["app.kubernetes.io/name"]) == ("pictures", "limner")
        assert metadata["annotations"]["note"] == "1"
        assert each["kind"] == "Job" or "checksum/cards" in metadata["annotations"]


def test_each_part_has_its_own_affinity() -> None:
    values = values_of("minimal")
    for part in ("web", "dispatcher", "workerDefaults"):
        values[part] = {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}}
        shown = [bool(pod_of(each)["affinity"]) for each in of_kind(render(values), "Deployment")]
        assert sum(shown) == len(values) - len(values_of("minimal"))


@pytest.mark.parametrize("values", REFUSED)
def test_an_addition_that_would_break_a_pod_is_refused(values: Object) -> None:
    with pytest.raises(Exception, match=r"extraVolume|serviceAccount"):
        render(values_of("minimal") | values)

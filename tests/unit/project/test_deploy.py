from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.unit.project.test_compose_gpus import GPU_WORKERS

from limner_client.cli.main import cli
from limner_shared.domain.catalogue import load_card
from limner_shared.settings import Settings
from limner_shared.settings.sources import RENAMED

ROOT = Path(__file__).parents[3]
DEPLOY = sorted(path for path in (ROOT / "deploy").rglob("*") if path.is_file() and path.suffix != ".pyc")
DOCKERFILES = sorted((ROOT / "deploy").glob("*.Dockerfile"))
SERVICE_FIELDS = {
    "build", "cap_add", "cap_drop", "command", "depends_on", "deploy", "env_file", "environment", "healthcheck",
    "image", "init", "mem_limit", "pids_limit", "ports", "profiles", "read_only", "restart", "secrets",
    "security_opt", "stop_grace_period", "tmpfs", "user", "volumes",
}  # fmt: skip
OBSERVABILITY = {"prometheus", "grafana", "jaeger"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def commands(compose: dict[str, Any]) -> list[list[str]]:
    named = [service["command"] for service in compose["services"].values() if "command" in service]
    in_files = [re.findall(r"^CMD \[(.*)\]", file.read_text(), re.MULTILINE) for file in DOCKERFILES]
    named += [re.findall(r'"([^"]+)"', line) for lines in in_files for line in lines]
    return [command for command in named if command[0] == "limner"]


def pins(file: Path) -> dict[str, str]:
    lines = [line.partition(";")[0] for line in file.read_text().splitlines() if re.match(r"[a-z]", line)]
    return dict(line.rstrip(" \\").split("==") for line in lines)


def test_compose_refers_only_to_services_and_volumes_that_it_defines(compose: dict[str, Any]) -> None:
    services, volumes = compose["services"], compose["volumes"]
    ours = {"redis", "postgres", "migrate", "web", "dispatcher", "worker-cpu", *GPU_WORKERS}
    assert set(services) == ours | OBSERVABILITY | {"backup", "caddy", "language"}
    for name, service in services.items():
        assert set(service) <= SERVICE_FIELDS, name
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services
            assert how["condition"] in ("service_healthy", "service_completed_successfully")
            assert how["condition"] != "service_healthy" or "healthcheck" in services[needed]
        for mount in service.get("volumes", []):
            source = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", mount).split(":")[0]
            assert source in volumes or (ROOT / source).exists(), mount


def test_our_services_read_a_file_of_settings_which_the_compose_file_does_not_override(compose: dict[str, Any]) -> None:
    fixed = {
        "SECRETS_DIR",
        "DATA_DIR",
        "MODELS",
        "LOG_FORMAT",
        "METRICS_HOST",
        "METRICS_PORT",
        "HOST",
        "PORT",
        "DEVICE",
    }
    for name in ("migrate", "web", "dispatcher", "worker-gpu", "worker-cpu", "backup"):
        service = compose["services"][name]
        assert set(service["environment"]) <= {"TMPDIR", *(f"LIMNER_{setting}" for setting in fixed)}, name
        assert service["env_file"] == [{"path": "limner.env", "required": False}], name


def test_the_base_of_each_built_image_can_be_named(compose: dict[str, Any]) -> None:
    default = {re.findall(r"^ARG BASE_IMAGE=(\S+)", file.read_text(), re.MULTILINE)[0] for file in DOCKERFILES}
    given = {service["build"]["args"]["BASE_IMAGE"] for service in compose["services"].values() if "build" in service}
    assert given == {f"${{BASE_IMAGE:-{base}}}" for base in default}


def test_each_built_image_can_be_labelled_with_its_revision(compose: dict[str, Any]) -> None:
    given = [service["build"]["args"].get("REVISION") for service in compose["services"].values() if "build" in service]
    assert set(given) == {"${REVISION:-}"}
    assert all('revision="${REVISION}"' in file.read_text() for file in DOCKERFILES)


def test_our_services_start_after_the_migration(compose: dict[str, Any]) -> None:
    for name in ("web", "dispatcher", "worker-gpu", "worker-cpu"):
        waits = compose["services"][name]["depends_on"]
        assert waits["migrate"]["condition"] == "service_completed_successfully"
        assert waits["redis"]["condition"] == "service_healthy"


def test_the_cpu_worker_is_only_in_the_cpu_profile(compose: dict[str, Any]) -> None:
    assert compose["services"]["worker-cpu"]["profiles"] == ["cpu"]
    assert "profiles" not in compose["services"]["worker-gpu"]


def test_monitoring_is_a_profile_on_loopback_that_reads_our_rules_and_dashboard(compose: dict[str, Any]) -> None:
    services = {name: compose["services"][name] for name in OBSERVABILITY}
    mounted = {mount.split(":")[0] for service in services.values() for mount in service.get("volumes", [])}
    assert {"./deploy/monitoring/rules.yml", "./deploy/monitoring/dashboard.json"} <= mounted
    for service in services.values():
        assert service["profiles"] == ["observability"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    config = yaml.safe_load((ROOT / "deploy/monitoring/compose/prometheus.yml").read_text())
    alone = yaml.safe_load((ROOT / "deploy/monitoring/prometheus.yml").read_text())
    port = compose["x-environment"]["LIMNER_METRICS_PORT"]
    assert str(config).replace(f"web:{port}", "127.0.0.1:9100").replace("/etc/prometheus/", "") == str(alone)
    sources = yaml.safe_load((ROOT / "deploy/monitoring/compose/datasources.yml").read_text())["datasources"]
    assert {source["url"].split("/")[2].split(":")[0] for source in sources} <= OBSERVABILITY


def test_https_is_a_profile_whose_proxy_leads_to_the_web_server(compose: dict[str, Any]) -> None:
    proxy, web = compose["services"]["caddy"], compose["services"]["web"]
    assert proxy["profiles"] == ["tls"]
    [upstream] = re.findall(r"\{\$TLS_UPSTREAM:(.*?)\}", (ROOT / "deploy" / "Caddyfile").read_text())
    assert upstream == f"web:{web['environment']['LIMNER_PORT']}"
    assert web["ports"] == ["${PUBLISH:-127.0.0.1:8700}:8700"], "plain HTTP stays on this machine"


def test_containers_stop_after_the_time_that_their_processes_are_given(compose: dict[str, Any]) -> None:
    def grace(service: str) -> int:
        return int(str(compose["services"][service]["stop_grace_period"]).removesuffix("s"))

    assert grace("web") > Settings.model_fields["web_shutdown_seconds"].default
    for worker in ("worker-gpu", "worker-cpu"):
        of_worker = [Settings.model_fields[name].default for name in ("shutdown_seconds", "step_timeout_seconds")]
        assert grace(worker) > sum(of_worker), "also the call that it awaits"


def test_secrets_are_files_that_a_script_makes_once(compose: dict[str, Any], tmp_path: Path) -> None:
    script = tmp_path / "deploy" / "secrets.sh"
    script.parent.mkdir()
    script.write_text((ROOT / "deploy" / "secrets.sh").read_text())
    subprocess.run(["sh", script], check=True)
    first = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    subprocess.run(["sh", script], check=True, env=os.environ | {"POSTGRES_PASSWORD": "other"})
    assert {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()} == first
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert compose["secrets"] == {name: {"file": f"./secrets/{name}"} for name in first}
    used = {name for service in compose["services"].values() for name in service.get("secrets", [])}
    assert used == set(first)
    variables = re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text())
    assert not [name for name in variables if re.search("PASSWORD|SECRET|TOKEN|_KEY", name)]


def test_our_services_read_the_urls_of_database_and_redis_from_secrets(
    compose: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "secrets.sh").write_text((ROOT / "deploy" / "secrets.sh").read_text())
    environment = os.environ | {"POSTGRES_PASSWORD": "used-before", "REDIS_PASSWORD": "also"}
    subprocess.run(["sh", tmp_path / "deploy" / "secrets.sh"], check=True, env=environment)
    for name in ("migrate", "web", "dispatcher", "worker-gpu", "worker-cpu", "backup"):
        assert compose["services"][name]["secrets"] == ["limner_database_url", "limner_redis_url"], name
        assert compose["services"][name]["environment"]["LIMNER_SECRETS_DIR"] == "/run/secrets"
    monkeypatch.setenv("LIMNER_SECRETS_DIR", str(tmp_path / "secrets"))
    settings = Settings()
    assert settings.database_url == "postgresql://limner:used-before@postgres:5432/limner"
    assert settings.redis_url == "redis://:also@redis:6379/0"


@pytest.mark.parametrize(
    ("writes", "code", "kept"), [("", 1, True), ("backup.json", 0, False), ("backup.json", 1, False)]
)
def test_old_backups_and_nothing_else_are_removed_once_a_new_one_is_complete(
    compose: dict[str, Any], tmp_path: Path, writes: str, code: int, *, kept: bool
) -> None:
    *_, command = compose["services"]["backup"]["command"]
    command = command.replace("$$", "$").replace("${BACKUP_DAYS:-14}", "14").replace("/backups", str(tmp_path / "all"))
    old, foreign = (tmp_path / "all" / name for name in ("2026-01-01T000000", "lost+found"))
    for folder in (old, foreign):
        folder.mkdir(parents=True)
        os.utime(folder, (0, 0))
    program = tmp_path / "bin" / "limner"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nmkdir -p "$2"; [ -z "{writes}" ] || touch "$2/{writes}"; exit {code}\n')
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    done = subprocess.run(["sh", "-c", command], check=False, env=os.environ | {"PATH": path})
    assert done.returncode == code
    assert (old.exists(), foreign.exists()) == (kept, True)
    [new] = {*(tmp_path / "all").iterdir()} - {old, foreign}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d{6}", new.name)


def test_a_backup_is_restored_into_a_database_that_no_migration_has_filled(compose: dict[str, Any]) -> None:
    assert set(compose["services"]["backup"]["depends_on"]) == {"postgres"}


def test_redis_is_persistent_and_evicts_nothing(compose: dict[str, Any]) -> None:
    *_, script = compose["services"]["redis"]["command"]
    for option in ("--appendonly yes", "--appendfsync everysec", "--maxmemory-policy noeviction"):
        assert option in script
    limit = re.search(r"--maxmemory \$\{VALKEY_DATA:-(\d+)mb\}", script)
    assert limit is not None
    assert int(limit[1]) < 1024, "less than its container's memory"
    assert "$REDIS" not in script, "other processes can read arguments"


def test_uploads_of_the_web_process_wait_on_disk(compose: dict[str, Any]) -> None:
    web = compose["services"]["web"]
    assert web["environment"]["TMPDIR"] in [volume.split(":")[1] for volume in web["volumes"]]


def test_services_have_a_read_only_root_limits_and_no_capabilities(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert {"mem_limit", "pids_limit"} <= set(service), name
        assert name == "postgres" or (service["read_only"] and service["tmpfs"]), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    assert compose["services"]["redis"]["user"] == "valkey"


@pytest.mark.parametrize(
    "file", [ROOT / "requirements.lock", *sorted((ROOT / "deploy").glob("*.lock"))], ids=lambda file: file.name
)
def test_locked_packages_are_pinned_by_hash_and_exclude_torch(file: Path) -> None:
    assert "torch" not in pins(file)
    blocks = re.split(r"\n(?=[a-z])", file.read_text())
    assert all("--hash=sha256:" in block for block in blocks if re.match(r"[a-z]", block))


def test_docker_accepts_the_compose_file_if_installed() -> None:
    asked = (
        subprocess.run(["docker", "compose", "version"], capture_output=True, check=False) if _has_docker() else None
    )
    if asked is None or asked.returncode != 0:
        pytest.skip("docker compose is not installed here")
    subprocess.run(["docker", "compose", "config", "--quiet"], cwd=ROOT, check=True)


def _has_docker() -> bool:
    return subprocess.run(["which", "docker"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("file", [ROOT / "docker-compose.yml", *DEPLOY], ids=lambda file: file.name)
def test_every_variable_in_the_deployment_files_is_a_setting(file: Path) -> None:
    named = set(re.findall(r"LIMNER_([A-Z0-9_]+)", file.read_text()))
    assert {name.lower() for name in named} <= Settings.model_fields.keys() | RENAMED.keys()


def test_every_command_in_the_deployment_files_exists(compose: dict[str, Any]) -> None:
    found = commands(compose)
    assert len(found) >= 6
    for _, *words in found:
        shown = CliRunner().invoke(cli, [*words, "--help"])
        assert shown.exit_code == 0, (words, shown.output)


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_every_copied_file_exists_and_is_in_the_build_context(file: Path) -> None:
    context = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = [line[1:] for line in context if line.startswith("!")]
    for line in re.findall(r"^COPY (?!--from=)(.+)$", file.read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(Path(source).match(pattern) for pattern in allowed), source


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_containers_do_not_run_as_root(file: Path) -> None:
    assert re.search(r"^USER limner$", file.read_text(), re.MULTILINE)


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_images_install_only_files_whose_hashes_are_locked(file: Path) -> None:
    commands = re.findall(r"pip (?:install|wheel) [^&\n]*", file.read_text())
    hashed = [each for each in commands if re.search("--require-hashes|--no-index|-r torch.lock", each)]
    assert len(hashed) == len(commands) > 3


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_images_name_their_revision_and_contain_a_bill_of_materials(file: Path) -> None:
    text = file.read_text()
    assert all(f"org.opencontainers.image.{label}=" in text for label in ("title", "version", "revision", "licenses"))
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.findall(r'image.version="(.*?)"', text) == [version]
    assert "cyclonedx-py environment /opt/limner --output-reproducible -o /opt/limner/sbom.json" in text


@pytest.mark.long
def test_the_bill_of_materials_names_each_installed_package_once(tmp_path: Path) -> None:
    file = tmp_path / "sbom.json"
    tool = [Path(sys.executable).with_name("cyclonedx-py"), "environment", sys.prefix, "--output-reproducible"]
    subprocess.run([*tool, "-o", file], check=True, capture_output=True)
    listed = [(canonicalize_name(each["name"]), each["version"]) for each in json.loads(file.read_text())["components"]]
    assert len(listed) == len(set(listed))
    assert set(pins(ROOT / "deploy" / "web.lock").items()) <= set(listed)


def test_the_web_image_is_without_torch_and_the_worker_image_without_flask() -> None:
    web, worker = pins(ROOT / "deploy/web.lock"), pins(ROOT / "deploy/worker.lock") | pins(ROOT / "torch.lock")
    assert "torch.lock" not in (ROOT / "deploy/web.Dockerfile").read_text()
    assert not {"torch", "transformers"} & set(web)
    assert {"flask", "gunicorn", "psycopg"} <= set(web)
    assert "flask" not in worker
    assert {"torch", "transformers", "diffusers", "psycopg"} <= set(worker)


def test_the_lock_file_pins_all_requirements_of_the_project_but_those_of_some_pipelines() -> None:
    locked = pins(ROOT / "requirements.lock") | pins(ROOT / "torch.lock")
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", each) for each in locked.values()), "a version has a local part"
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    wanted = [Requirement(line) for line in [*(requires("limner") or []), *groups["dev"]]]
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        if name != "limner" and 'extra == "pipelines"' not in str(requirement.marker):  # decision 0166
            assert name in locked, f"{name}: run make lock"
            assert requirement.specifier.contains(locked[name]), f"{requirement}: run make lock"


def test_the_lock_files_of_the_images_match_the_main_lock_file() -> None:
    locked = pins(ROOT / "requirements.lock")
    for file in (ROOT / "deploy").glob("*.lock"):
        assert pins(file).items() <= locked.items(), file.name


def test_the_example_card_is_valid(tmp_path: Path) -> None:
    for example in (ROOT / "deploy/cards").glob("*.toml.example"):
        copy = tmp_path / example.stem
        copy.write_text(example.read_text())
        assert load_card(copy).family == "diffusers"


def test_ci_runs_only_make_test_and_make_lint() -> None:
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert [line for line in lines if line.startswith("make")] == ["make test", "make lint"]


def test_make_reports_a_missing_python_3_11(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "torch.lock"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    made = subprocess.run(["make", "lint", "PYTHON="], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode != 0
    assert "Python 3.11 is needed" in made.stderr
    assert sys.version_info[:2] == (3, 11)

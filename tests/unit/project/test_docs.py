"""The documentation: references name everything in the code, paths exist, and the site builds without a warning."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from html import unescape
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import click
import pytest
from mkdocs import config as mkdocs_config
from mkdocs.commands.build import build
from mkdocs.config.defaults import MkDocsConfig

from limner_client.cli.main import cli
from limner_shared import errors
from limner_shared.domain.cards import ModelCard
from limner_shared.errors import LimnerError
from limner_shared.metrics.instruments import ALL
from limner_shared.settings import Settings
from limner_shared.settings.sources import RENAMED

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
DOORS = {
    "openai.md": "openai",
    "replicate.md": "replicate",
    "a1111.md": "webuiapi",
    "hugging-face.md": "huggingface_hub",
    "mcp.md": "mcp",
}
"""The page of each door, and the client whose version it names."""
NAMED = re.compile(r"`((?:shared|web|worker|dispatcher|client|training|migrations)/[\w./]+)`")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MkDocsConfig]:
    """The configuration of the site, as `mkdocs build --strict` reads it."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        warnings.simplefilter("ignore")
        yield cast("Any", mkdocs_config).load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(folder))


@pytest.fixture(scope="module")
def hooks(config: MkDocsConfig) -> ModuleType:
    """The functions that write the references, in the module that the site uses."""
    return cast("dict[str, Any]", config)["hooks"]["docs/hooks.py"]


@pytest.fixture(scope="module")
def site(config: MkDocsConfig) -> Path:
    """The site, built in this process, which has most of its imports already. Raises Abort for any warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build(config)
    return Path(config.site_dir)


def commands(group: click.Group, path: str = "limner") -> list[str]:
    context = click.Context(group)
    found: list[str] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            found.append(f"{path} {name}")
            found += commands(command, f"{path} {name}") if isinstance(command, click.Group) else []
    return found


def test_the_settings_reference_names_every_variable_old_and_new(hooks: ModuleType) -> None:
    text = hooks.settings_reference()
    assert all(f"`LIMNER_{name.upper()}`" in text for name in Settings.model_fields)
    assert all(f"## {title}" in text for title in hooks.SECTIONS.values())
    assert "Training data and converted models" in text
    renamed = hooks.renamed_variables()
    assert all(f"`LIMNER_{name.upper()}`" in renamed for pair in RENAMED.items() for name in pair)


def test_the_model_card_reference_names_every_field_of_the_schema(hooks: ModuleType) -> None:
    text = hooks.card_reference()
    assert all(f"| `{name}` |" in text for name in ModelCard.model_fields)
    assert "## Range" in text


def test_the_api_reference_names_every_operation_and_links_only_to_schemas_that_it_has(hooks: ModuleType) -> None:
    text = hooks.api_reference()
    for path, method, operation in hooks.operations(hooks.api_document()):
        assert f"### `{method.upper()} {path}`" in text
        assert operation["summary"] in text
    assert {f"{method.upper()} {path}" for path, method, _ in hooks.operations(hooks.api_document())} >= set(
        hooks.api_examples()
    )
    assert all(f"{{#{anchor}}}" in text for anchor in re.findall(r"\]\(#([\w-]+)\)", text))


def test_the_error_reference_names_every_code(hooks: ModuleType) -> None:
    text = hooks.error_reference()
    own = [error for error in LimnerError.__subclasses__() if error.__module__.startswith(errors.__name__)]
    assert all(f"`{error.code}`" in text for error in own)


def test_the_metrics_reference_names_every_metric(hooks: ModuleType) -> None:
    text = hooks.metrics_reference()
    assert all(f"| `{name}` | {metric.kind} |" in text for name, metric in ALL.items())


def test_every_path_that_a_page_names_exists() -> None:
    pages = [ROOT / "README.md", *DOCS.rglob("*.md")]
    missing = [
        f"{page.relative_to(ROOT)}: {path}"
        for page in pages
        for path in NAMED.findall(page.read_text("utf-8"))
        if not (ROOT / path).exists()
    ]
    assert missing == []


def test_each_yes_of_the_feature_table_names_a_test_of_the_pages() -> None:
    text = (DOCS / "reference" / "feature-table.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.count("|") == 5]
    rows = [row for row in rows if row[2] not in ("here", "---")]
    tests = "".join(file.read_text("utf-8") for file in (ROOT / "tests" / "e2e").glob("test_*.py"))
    assert len(rows) > 30
    assert [row[0] for row in rows if row[2] != "no" and f"def {row[3].strip('`')}(" not in tests] == []
    assert [row[0] for row in rows if row[2] == "no" and row[3]] == []


def test_the_guide_of_clients_names_the_versions_that_the_tests_use() -> None:
    named = re.findall(
        r"^\| \[`(\w+)`\]\([\w-]+\.md\) \| ([\d.]+) \|", (DOCS / "guides/clients.md").read_text("utf-8"), re.MULTILINE
    )
    assert len(named) == 6
    assert named == [(package, version(package)) for package, _ in named]
    for guide, package in DOORS.items():
        tested = f"This page was tested with `{package}` {version(package)}"
        assert tested in " ".join((DOCS / "guides" / guide).read_text("utf-8").split()), guide


def test_the_readme_has_at_most_150_lines_and_the_changelog_names_every_renamed_variable() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert all(f"| `LIMNER_{old.upper()}` | `LIMNER_{new.upper()}` |" in changelog for old, new in RENAMED.items())


def test_every_decision_has_a_date_and_its_three_sections_and_is_in_the_index() -> None:
    index = (DOCS / "decisions" / "index.md").read_text("utf-8")
    records = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        text = record.read_text("utf-8")
        assert re.search(r"^Date: \d{4}-\d\d-\d\d", text, re.MULTILINE), record.name
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], record.name
        assert f"({record.name})" in index


def test_the_site_builds_strictly_names_every_command_and_loads_nothing_from_elsewhere(site: Path) -> None:
    page = re.sub(r"<[^>]+>", "", unescape((site / "reference" / "cli.html").read_text("utf-8")))
    words = " ".join(page.split())
    assert all(f"Usage: {command} " in words for command in commands(cli))
    for file in site.rglob("*.html"):
        assert not re.findall(r'(?:src="|rel="stylesheet" href=")https?:', file.read_text("utf-8")), file.name


def test_every_test_that_the_threat_model_names_exists() -> None:
    page = (ROOT / "docs" / "concepts" / "threat-model.md").read_text("utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    code = "\n".join(file.read_text("utf-8") for file in (ROOT / "tests").rglob("*.py"))
    assert len(named) > 30
    assert named - set(re.findall(r"def (test_\w+)\(", code)) == set()

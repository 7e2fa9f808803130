"""MkDocs hook: writes the reference pages from the code, so that they cannot differ from it.

A page contains a marker such as `<!-- generated: settings -->`; `on_page_markdown` replaces it. The command line's page
is written by mkdocs-click, from the same click objects.
"""
# ruff: noqa: INP001

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

from pydantic import BaseModel

from limner_shared import errors, metrics
from limner_shared.db.schema import upgrade
from limner_shared.domain.cards import ModelCard
from limner_shared.errors import LimnerError
from limner_shared.metrics.instruments import ALL
from limner_shared.settings import Settings
from limner_shared.settings.delivery import DeliverySettings
from limner_shared.settings.oidc import OidcSettings
from limner_shared.settings.safety import SafetySettings
from limner_shared.settings.sources import RENAMED
from limner_web.app import create_app

MARKER: Final = re.compile(r"<!-- generated: ([a-z-]+) -->")
DOCS: Final = Path(__file__).parent
EXAMPLES: Final = DOCS / "reference" / "examples.toml"
SECTIONS: Final = {
    "moderation_rules": "Safety and provenance",
    "delivery_seconds": "Delivery of pictures",
    "data_dir": "Storage and connections",
    "models": "Models",
    "host": "HTTP server",
    "max_requests": "Load limits of a web process",
    "release_window": "Release, leases and retention",
    "webhook_internal_targets": "Webhooks",
    "slots": "Worker",
    "interpreter": "Descriptions",
    "server_url": "Client commands",
    "metrics": "Metrics",
    "log_level": "Logs",
}
"""The setting that begins each section of the reference, in the order of `Settings`."""
DEFAULTS: Final = {
    "data_dir": "the user's data folder",
    "cache_dir": "the user's cache folder",
    "model_aliases": "the names of OpenAI's image models, for the default model",
}
"""Defaults that depend on the machine or are long."""
CONSTRAINTS: Final = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "pattern `{}`",
}
TAGS: Final = ("Jobs", "Conversations", "Bulks", "Images", "Webhooks", "Models", "Events", "Account", "Health")
"""The order of the API's sections; a further tag follows them."""
PROBLEM: Final = "application/problem+json"
METHODS: Final = ("get", "post", "put", "patch", "delete")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace each marker of a page by what it names. Raises KeyError for a marker that is not known."""
    return MARKER.sub(lambda found: GENERATORS[found[1]](), markdown)


# --- settings ---


def settings_reference() -> str:
    """Every environment variable with its type, default and meaning, one table for each section."""
    texts = (
        attribute_docs(SafetySettings)
        | attribute_docs(DeliverySettings)
        | attribute_docs(OidcSettings)
        | attribute_docs(Settings)
    )
    schema: dict[str, Any] = Settings.model_json_schema()["properties"]
    lines: list[str] = []
    for name, field in schema.items():
        if name in SECTIONS:
            lines += ["", f"## {SECTIONS[name]}", "", *table_head("variable", "type", "default", "meaning")]
        default = DEFAULTS.get(name) or inline(field.get("default"))
        lines.append(row(f"`LIMNER_{name.upper()}`", kind(field), default, texts.get(name, "")))
    return "\n".join(lines)


def renamed_variables() -> str:
    """The old and new names of renamed environment variables."""
    pairs = [row(f"`LIMNER_{old.upper()}`", f"`LIMNER_{new.upper()}`") for old, new in sorted(RENAMED.items())]
    return "\n".join([*table_head("old name", "new name"), *pairs])


def attribute_docs(model: type[BaseModel]) -> dict[str, str]:
    """The strings below a class's fields, which are their documentation."""
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    found: dict[str, str] = {}
    name = ""
    for node in body.body if isinstance(body, ast.ClassDef) else []:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name:
            found[name] = " ".join(str(node.value.value).split())
        else:
            name = ""
    return found


# --- model cards ---


def card_reference() -> str:
    """Every field of a model card, and the tables that its values are made of."""
    schema: dict[str, Any] = ModelCard.model_json_schema()
    parts = [field_table(schema)]
    for name, definition in schema["$defs"].items():
        if definition.get("type") == "object" or "enum" in definition:
            parts += [f"## {name} {{#{anchor(name)}}}", first_line(definition), field_table(definition)]
    return "\n\n".join(parts)


# --- HTTP API ---


@cache
def api_document() -> dict[str, Any]:
    """The OpenAPI document of a web application that is created for it, with a database of its own and no Redis."""
    with TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), database_url=f"sqlite:///{folder}/limner.db", host="127.0.0.1")
        upgrade(settings.resolved_database_url)
        app = create_app(settings)
        try:
            return json.loads(json.dumps(app.spec))
        finally:
            app.extensions["limner"].database.dispose()


def api_reference() -> str:
    """Every operation of the native API, by tag, then every schema."""
    document = api_document()
    by_tag: dict[str, list[str]] = {tag: [] for tag in TAGS}
    for path, method, operation in operations(document):
        by_tag.setdefault(operation["tags"][0], []).append(describe_operation(path, method, operation))
    parts = [f"## {tag}\n\n" + "\n\n".join(texts) for tag, texts in by_tag.items()]
    parts.append("## Schemas")
    for name, schema in schemas(document).items():
        parts += [f"### {name} {{#{anchor(name)}}}", first_line(schema), field_table(schema)]
    return "\n\n".join(part for part in parts if part)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and description of each operation."""
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                yield path, method, methods[method]


def describe_operation(path: str, method: str, operation: dict[str, Any]) -> str:
    """One operation: what it does, its parameters, body, answers and example."""
    title = f"{method.upper()} {path}"
    lines = [f"### `{title}`", "", operation.get("summary", ""), "", operation.get("description", "")]
    if parameters := operation.get("parameters"):
        lines += ["", *table_head("parameter", "in", "type", "meaning")]
        for parameter in parameters:
            schema = parameter["schema"]
            lines.append(row(f"`{parameter['name']}`", parameter["in"], kind(schema), schema.get("description", "")))
    if body := operation.get("requestBody"):
        lines += ["", f"Body: {contents(body)}"]
    lines += ["", *table_head("answer", "when", "body")]
    problems: list[str] = []
    for status, answer in sorted(operation["responses"].items()):
        if PROBLEM in answer.get("content", {}):
            problems.append(f"**{status}** {answer.get('description', '')}")
        else:
            lines.append(row(status, answer.get("description", ""), contents(answer)))
    if problems:
        lines += ["", f"[Problem documents](errors.md): {'; '.join(problems)}."]
    if example := api_examples().get(title):
        lines += [
            "",
            f"```bash\n{example['call'].strip()}\n```",
            "",
            f"```{example['format']}",
            example["answer"],
            "```",
        ]
    return "\n".join(lines)


@cache
def api_examples() -> dict[str, dict[str, str]]:
    """A call and its real answer, by method and path."""
    examples: dict[str, dict[str, str]] = tomllib.loads(EXAMPLES.read_text("utf-8"))
    return examples


def contents(body: dict[str, Any]) -> str:
    """The media types of a body, each with its schema."""
    by_kind: dict[str, list[str]] = {}
    for media_type, value in body.get("content", {}).items():
        schema = value.get("schema", {})
        by_kind.setdefault(kind(schema) if schema else "", []).append(f"`{media_type}`")
    return "; ".join(" or ".join(types) + (f": {what}" if what else "") for what, types in by_kind.items())


def schemas(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The object schemas by their names."""
    found: dict[str, dict[str, Any]] = document["components"]["schemas"]
    return {name: schema for name, schema in sorted(found.items()) if "properties" in schema or "enum" in schema}


# --- errors ---


def error_reference() -> str:
    """Every stable error code with its HTTP status, whether a retry can help, and its default message."""
    lines = table_head("code", "status", "retry can help", "meaning")
    for error in sorted(LimnerError.__subclasses__(), key=lambda each: (each.status, each.code)):
        if error.__module__.startswith(errors.__name__):
            lines.append(row(f"`{error.code}`", error.status, "yes" if error.retryable else "no", error().message))
    return "\n".join(lines)


# --- metrics ---


def metrics_reference() -> str:
    """Every metric with its type, labels and meaning, one table for each section of the module that declares them."""
    lines: list[str] = []
    names = {id(metric): metric for metric in ALL.values()}
    by_attribute = {name: value for name, value in vars(metrics).items() if id(value) in names}
    for line in inspect.getsource(metrics).splitlines():
        if title := re.fullmatch(r"# --- (.*) ---", line):
            lines += ["", f"## {title[1]}", "", *table_head("metric", "type", "labels", "meaning")]
        elif (found := re.match(r"([A-Z_]+): Final = ", line)) and found[1] in by_attribute:
            metric = by_attribute[found[1]]
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            lines.append(row(f"`{metric.name}`", metric.kind, labels, metric.text))
    return "\n".join(lines)


# --- JSON Schema to Markdown ---


def field_table(schema: dict[str, Any]) -> str:
    """A table of an object's fields; of an enumeration, its values."""
    if "enum" in schema:
        return "One of " + ", ".join(inline(value) for value in schema["enum"]) + "."
    required = schema.get("required", [])
    lines = table_head("field", "type", "default", "meaning")
    for name, field in schema.get("properties", {}).items():
        default = "required" if name in required else inline(field.get("default"))
        lines.append(row(f"`{name}`", kind(field), default, field.get("description", "")))
    return "\n".join(lines)


def kind(schema: dict[str, Any]) -> str:
    """A schema's type in words, with its limits."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{anchor(name)})"
    if choices := schema.get("anyOf"):
        return " or ".join(kind(choice) for choice in choices if choice.get("type") != "null")
    if "enum" in schema:
        return ", ".join(inline(value) for value in schema["enum"])
    if "const" in schema:
        return inline(schema["const"])
    named = schema.get("type", "any")
    base = " or ".join(cast("list[str]", named)) if isinstance(named, list) else str(named)
    if base == "array" and "items" in schema:
        base = f"list of {kind(schema['items'])}"
    elif base == "array" and "prefixItems" in schema:
        base = "(" + ", ".join(kind(item) for item in schema["prefixItems"]) + ")"
    elif isinstance(schema.get("additionalProperties"), dict):
        base = f"object of {kind(schema['additionalProperties'])}"
    limits = [text.format(schema[name]) for name, text in CONSTRAINTS.items() if name in schema]
    if "prefixItems" in schema:
        limits = []
    return ", ".join([base, *limits])


def first_line(schema: dict[str, Any]) -> str:
    """The first sentence of a schema's description."""
    return str(schema.get("description", "")).strip().split("\n\n")[0]


def inline(value: object) -> str:
    """A value as inline code; nothing for an empty one."""
    if value in (None, "", [], {}):
        return ""
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def anchor(name: str) -> str:
    """The fragment of a schema's section."""
    return f"schema-{name.lower()}"


def table_head(*columns: str) -> list[str]:
    """The first two lines of a table."""
    return [row(*columns), "|" + "---|" * len(columns)]


def row(*cells: object) -> str:
    """A line of a table; what would end a cell is escaped."""
    texts = [" ".join(str(cell).split()).replace("|", "\\|") for cell in cells]
    return "| " + " | ".join(texts) + " |"


GENERATORS: Final[dict[str, Callable[[], str]]] = {
    "settings": settings_reference,
    "renamed-variables": renamed_variables,
    "card": card_reference,
    "api": api_reference,
    "errors": error_reference,
    "metrics": metrics_reference,
    # Its links are those of the repository's top.
    "changelog": lambda: (DOCS.parent / "CHANGELOG.md").read_text("utf-8").replace("](docs/", "]("),
}

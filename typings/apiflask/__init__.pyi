# What the web server uses of APIFlask. Its own annotations leave dictionaries and marshmallow's schemas untyped, so
# that the type of every decorator would be unknown.

from collections.abc import Awaitable, Callable, Mapping
from os import PathLike
from typing import Any, TypeAlias, TypeVar
from wsgiref.types import WSGIApplication

from flask import Blueprint, Flask
from flask.typing import ResponseReturnValue
from pydantic import BaseModel

_Answer: TypeAlias = BaseModel | ResponseReturnValue | tuple[BaseModel, int] | tuple[BaseModel, int, Mapping[str, str]]
_View = TypeVar("_View", bound=Callable[..., _Answer] | Callable[..., Awaitable[ResponseReturnValue]])
_SpecProcessor: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
_Schema: TypeAlias = type[BaseModel] | Mapping[str, Any]

class _Scaffold:
    def get(self, rule: str, **options: Any) -> Callable[[_View], _View]: ...
    def post(self, rule: str, **options: Any) -> Callable[[_View], _View]: ...
    def put(self, rule: str, **options: Any) -> Callable[[_View], _View]: ...
    def patch(self, rule: str, **options: Any) -> Callable[[_View], _View]: ...
    def delete(self, rule: str, **options: Any) -> Callable[[_View], _View]: ...
    def input(
        self, schema: type[BaseModel], location: str = "json", arg_name: str | None = None, **options: Any
    ) -> Callable[[_View], _View]: ...
    def output(self, schema: _Schema, status_code: int = 200, **options: Any) -> Callable[[_View], _View]: ...
    def doc(
        self,
        *,
        tags: list[str] | None = None,
        responses: list[int] | Mapping[int, str] | Mapping[int, dict[str, Any]] | None = None,
        hide: bool | None = None,
    ) -> Callable[[_View], _View]: ...

class APIBlueprint(_Scaffold, Blueprint):
    def __init__(
        self,
        name: str,
        import_name: str,
        tag: str | None = None,
        enable_openapi: bool = True,
        *,
        template_folder: str | None = None,
        url_prefix: str | None = None,
    ) -> None: ...

class APIFlask(_Scaffold, Flask):
    # Flask documents that an application which wraps this one may be assigned.
    wsgi_app: WSGIApplication  # pyright: ignore[reportIncompatibleMethodOverride]
    @property
    def spec(self) -> dict[str, Any]: ...
    def __init__(
        self,
        import_name: str,
        title: str = "APIFlask",
        version: str = "0.1.0",
        spec_path: str | None = "/openapi.json",
        docs_path: str | None = "/docs",
        *,
        template_folder: str | PathLike[str] | None = "templates",
        static_folder: str | PathLike[str] | None = "static",
    ) -> None: ...
    def spec_processor(self, f: _SpecProcessor) -> _SpecProcessor: ...

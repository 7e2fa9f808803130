"""Flask's test application and client with precise types: a test that reads an answer's JSON expects some.

Only type checkers see the differences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apiflask import APIFlask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse


class Answer(TestResponse):
    """A response. Its JSON is of any type; a test that expects JSON fails where it reads None."""

    if TYPE_CHECKING:

        @property
        def json(self) -> Any: ...


class ApiClient(FlaskClient):
    """A client whose methods return answers."""

    if TYPE_CHECKING:

        def open(self, *args: Any, **kw: Any) -> Answer: ...
        def get(self, *args: Any, **kw: Any) -> Answer: ...
        def post(self, *args: Any, **kw: Any) -> Answer: ...
        def put(self, *args: Any, **kw: Any) -> Answer: ...
        def patch(self, *args: Any, **kw: Any) -> Answer: ...
        def delete(self, *args: Any, **kw: Any) -> Answer: ...
        def head(self, *args: Any, **kw: Any) -> Answer: ...
        def options(self, *args: Any, **kw: Any) -> Answer: ...


class App(APIFlask):
    """The web application."""

    if TYPE_CHECKING:

        def test_client(self, use_cookies: bool = True, **kwargs: Any) -> ApiClient: ...

"""The Python client raises the error of each code that a server may answer."""

from __future__ import annotations

import httpx
import pytest

from limner_client.refusals import ClientError, refused
from limner_shared import errors
from limner_shared.errors import LimnerError


@pytest.mark.parametrize("kind", [errors.NegativePromptUnsupported, errors.ModelNotFound, errors.TooManyRequests])
def test_the_class_follows_from_the_code(kind: type[LimnerError]):
    raised = refused(httpx.Response(kind.status, json={"code": kind.code, "detail": "why", "field": "model"}))
    assert type(raised) is kind
    assert (raised.message, raised.details["field"]) == ("why", "model")


def test_an_unknown_code_is_an_error_of_the_client():
    assert type(refused(httpx.Response(418, json={"code": "teapot", "detail": "why"}))) is ClientError

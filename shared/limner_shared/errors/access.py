"""Who may do what."""

from __future__ import annotations

from limner_shared.errors.base import LimnerError


class Unauthorized(LimnerError):
    """A valid API key is required: send it as `Authorization: Bearer KEY`."""

    code, title, status = "unauthorized", "Unauthorized", 401


class Forbidden(LimnerError):
    """The request is not allowed."""

    code, title, status = "forbidden", "Forbidden", 403


class SubmitScopeRequired(LimnerError):
    """This request needs a key with the scope `submit`."""

    code, title, status = "submit_scope_required", "Scope submit required", 403


class ReadScopeRequired(LimnerError):
    """This request needs a key with the scope `read`."""

    code, title, status = "read_scope_required", "Scope read required", 403


class AdminScopeRequired(LimnerError):
    """This request needs a key with the scope `admin`."""

    code, title, status = "admin_scope_required", "Scope admin required", 403


class OperatorRequired(LimnerError):
    """Only the operator may do this: use an admin key of the tenant `local`, or the `limner` command."""

    code, title, status = "operator_required", "Operator required", 403


class InvalidLink(LimnerError):
    """This link was not made by this service, or its signing key has changed: request a new one."""

    code, title, status = "invalid_link", "Invalid link", 403


class LinkExpired(LimnerError):
    """This link has expired: request a new one."""

    code, title, status = "link_expired", "Link expired", 410

"""The configuration of HAProxy as the front door of several cells. It holds no state, so any number may run.

A request goes to the cell that its API key names, in a header, a cookie or the sign-in form, or that its link names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from limner_client.operations.cells import Cell, Cells
from limner_shared.domain.cells import KEY_PREFIX, key_prefix, link_prefix
from limner_shared.errors import ServiceUnavailable

RETRY_SECONDS: Final = 5
CLIENT_PATHS: Final = "/api/ /v1/ /sdapi/ /replicate/ /hf/"
"""The paths whose clients send the key in a header."""
GENERAL: Final = """\
# Made by `limner cells config`: change the cells' file, not this one.
global
    log stdout format raw daemon notice
    maxconn {maxconn}

defaults
    mode http
    log global
    option dontlognull
    option dontlog-normal
    # Neither keys nor links.
    log-format "%ci %ft %b/%s %HM %ST %B %Tt %tsc"
    option forwardfor
    # A request on a connection that the server closes meanwhile could not be repeated.
    option http-server-close
    option redispatch
    retries 2
    timeout connect 3s
    timeout check 2s
    timeout queue 5s
    timeout http-request 10s
    timeout http-keep-alive 60s
    # Image calls of OpenAI's and AUTOMATIC1111's APIs wait ten minutes.
    timeout client 620s
    timeout server 620s
"""
ROUTES: Final = """\
    acl is_client path_beg {paths}
    acl is_link path_beg /images/
    acl is_sign_in path /session
    acl has_header req.hdr(authorization) -m found
    http-request set-header x-forwarded-proto https if {{ ssl_fc }}
    http-request set-var(txn.key) req.cook(limner_key) if !is_link
    http-request set-var(txn.key) req.hdr(authorization),word(2,' ') if is_client has_header
    http-request set-var(txn.key) http_auth_pass if is_client {{ req.hdr(authorization) -m beg -i 'basic ' }}
    http-request wait-for-body time 5s if is_sign_in METH_POST
    http-request set-var(txn.key) req.body_param(key) if is_sign_in METH_POST
"""
BALANCE: Final = "    balance leastconn"
CHECKS: Final = """\
    option httpchk GET /healthz
    default-server check inter 1s fall 3 rise 1 on-marked-down shutdown-sessions"""

ANY_CELL: Final = """\
    # Pages that need no key are read again from another cell if one is silent.
    timeout server 3s
    option redispatch 1
    retry-on conn-failure empty-response response-timeout
    http-request disable-l7-retry unless METH_GET"""


def configuration(cells: Cells) -> str:
    """Return the content of `haproxy.cfg`."""
    return "\n".join((GENERAL.format(maxconn=cells.max_connections) + _errors(), _frontend(cells), *_backends(cells)))


def _frontend(cells: Cells) -> str:
    ssl = f" ssl crt {cells.certificate} alpn h2,http/1.1" if cells.certificate else ""
    lines = ["frontend front-door", *(f"    bind {address}{ssl}" for address in cells.listen)]
    lines += [ROUTES.format(paths=CLIENT_PATHS).rstrip()]
    for name in cells.cells:
        lines.append(
            f"    use_backend {_backend(name)} if is_link {{ path,url_dec -m beg /images/{link_prefix(name)} }}"
        )
        lines.append(f"    use_backend {_backend(name)} if {{ var(txn.key) -m beg {key_prefix(name)} }}")
    if cells.default_cell:  # keys and links that were made before there were cells
        lines.append(f"    use_backend {_backend(cells.default_cell)} if is_link")
        lines.append(f"    use_backend {_backend(cells.default_cell)} if {{ var(txn.key) -m beg {KEY_PREFIX}_ }}")
    # Pages that need no key, and answers that refuse a request without one.
    return "\n".join([*lines, "    default_backend any-cell", ""])


def _backends(cells: Cells) -> Iterator[str]:
    # A cell whose requests never end uses only its own share of the connections.
    share = max(1, cells.max_connections // (len(cells.cells) + 1))
    limit = f"    http-request return status 503 default-errorfiles if {{ be_conn gt {share} }}"
    for name, cell in cells.cells.items():
        servers = [f"    server {_server(number)} {address}" for number, address in enumerate(cell.servers, 1)]
        yield "\n".join([f"backend {_backend(name)}", BALANCE, limit, CHECKS, *servers, ""])
    yield "\n".join(["backend any-cell", BALANCE, limit, ANY_CELL, *_tracked(cells.cells), ""])


def _tracked(cells: dict[str, Cell]) -> Iterator[str]:
    """All servers, whose health their own cells' backends check."""
    for name, cell in cells.items():
        for number, address in enumerate(cell.servers, 1):
            server = _server(number)
            yield f"    server {name}-{server} {address} track {_backend(name)}/{server}"


def _errors() -> str:
    """What is answered for a cell that is away or holds its share of the connections, and when a server is lost within
    a request or does not answer in time. Our API's clients and OpenAI's both read it.
    """
    code, detail = ServiceUnavailable.code, "This part of the service is unavailable. Try again shortly."
    error = {"message": detail, "type": "server_error", "param": None, "code": code}
    lines: list[str] = []
    for status in (502, 503, 504):
        problem = {"type": f"urn:limner:{code}", "title": ServiceUnavailable.title, "status": status, "detail": detail}
        body = json.dumps(problem | {"code": code, "retry_after": RETRY_SECONDS, "error": error})
        kind = "content-type application/problem+json"
        lines.append(f"    http-error status {status} {kind} string '{body}' hdr retry-after {RETRY_SECONDS}\n")
    return "".join(lines)


def _backend(cell: str) -> str:
    return f"cell-{cell}"


def _server(number: int) -> str:
    return f"web{number}"

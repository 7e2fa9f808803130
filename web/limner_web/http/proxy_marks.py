"""The marks by which a request through a proxy is recognised."""

from __future__ import annotations

from typing import Final

from flask import Request

NAMES: Final = """
    forwarded via x-real-ip x-client-ip x-cluster-client-ip x-original-forwarded-for x-original-host x-original-url
    x-rewrite-url x-remote-addr x-remote-ip x-proxyuser-ip x-scheme client-ip true-client-ip
    cf-connecting-ip cf-connecting-ipv6 cf-ray cf-visitor cdn-loop fastly-client-ip fly-client-ip do-connecting-ip
    x-appengine-user-ip x-azure-clientip x-azure-socketip x-nf-client-connection-ip cloudfront-viewer-address
    x-arr-log-id x-arr-ssl x-varnish
"""
HEADERS: Final = frozenset(NAMES.split())
"""What proxies and their platforms add, in lower case. Headers of traces are not here: clients send them too."""
PREFIXES: Final = ("x-forwarded-", "x-envoy-")
"""How their others begin."""


def mark_of_proxy(request: Request) -> str:
    """What shows that a request came through a proxy: a header, or HTTP/1.0, which nginx before 1.29.7 speaks to the
    server behind it. Empty if nothing does: a proxy may add nothing.
    """
    for name, _ in request.headers:
        if name.lower() in HEADERS or name.lower().startswith(PREFIXES):
            return f"the header {name}"
    return "HTTP/1.0" if request.environ.get("SERVER_PROTOCOL") == "HTTP/1.0" else ""

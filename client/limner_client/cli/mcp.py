"""`limner mcp`: a service's tools for agents."""

from __future__ import annotations

import click

from limner_client.cli.server_options import server_options, server_url
from limner_client.mcp_server.server import PATH, serve_http, serve_stdio
from limner_shared.errors import InvalidRequest
from limner_shared.settings import Settings


@click.command()
@server_options
@click.option("--http", is_flag=True, help="Serve streamable HTTP instead of stdin and stdout.")
@click.option("--host", default="127.0.0.1", show_default=True, help="With --http: the address to listen on.")
@click.option("--port", default=8701, show_default=True, help="With --http: the port to listen on.")
def mcp(server: str | None, key: str | None, *, http: bool, host: str, port: int) -> None:
    """Offer a service's tools to agents by the Model Context Protocol.

    On stdin and stdout for one agent, which starts this command; or by HTTP for several, each with its own API key.
    """
    settings = Settings()
    url = server_url(server, settings)
    if not http:
        serve_stdio(url, key or settings.api_key or None)
        return
    if key is not None:
        raise InvalidRequest("--key: with --http each agent sends its own key as `Authorization: Bearer KEY`.")
    click.echo(f"MCP on http://{host}:{port}{PATH}, for the service at {url}", err=True)
    serve_http(url, host, port)

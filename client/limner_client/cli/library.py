"""`limner delete`, `favourite`, `tag`, `similar` and `link`: what a tenant does with finished jobs and their images."""

from __future__ import annotations

import click

from limner_client.cli.server_options import make_client, server_options


@click.command()
@click.argument("ids", nargs=-1, required=True)
@server_options
def delete(*, ids: tuple[str, ...], server: str | None, key: str | None) -> None:
    """Delete the jobs (job_…) and images (img_…) with the given ids. This cannot be undone."""
    with make_client(server, key) as client:
        for one in ids:
            client.delete(one)
            click.echo(f"{one} deleted")


@click.command()
@click.argument("ids", nargs=-1, required=True)
@click.option("--remove", is_flag=True, help="Unmark them.")
@server_options
def favourite(*, ids: tuple[str, ...], remove: bool, server: str | None, key: str | None) -> None:
    """Mark the jobs and images with the given ids as favourites."""
    with make_client(server, key) as client:
        for one in ids:
            client.mark_favourite(one, favourite=not remove)


@click.command()
@click.argument("tag")
@click.argument("ids", nargs=-1, required=True)
@click.option("--remove", is_flag=True, help="Remove the tag from them.")
@server_options
def tag(*, tag: str, ids: tuple[str, ...], remove: bool, server: str | None, key: str | None) -> None:
    """Give the jobs and images with the given ids a tag."""
    with make_client(server, key) as client:
        for one in ids:
            if remove:
                client.untag(one, tag)
            else:
                client.tag(one, tag)


@click.command()
@click.argument("job_id")
@server_options
def explain(*, job_id: str, server: str | None, key: str | None) -> None:
    """Say why a job waits, and when it will probably be finished."""
    with make_client(server, key) as client:
        found = client.explain(job_id)
    click.echo(found.message)
    if found.eta is not None:
        click.echo(f"Expected in {found.eta.median_seconds:g} s; nine of ten such jobs in {found.eta.p90_seconds:g} s.")


@click.command()
@click.argument("image_id")
@click.option("--expires-in", type=int, default=3600, show_default=True, help="Seconds for which the link works.")
@server_options
def link(*, image_id: str, expires_in: int, server: str | None, key: str | None) -> None:
    """Print a link to an image that works without a key until it expires."""
    with make_client(server, key) as client:
        click.echo(client.link(image_id, expires_in).url)


@click.command()
@click.argument("image_id")
@click.option("--limit", type=int, default=20, show_default=True, help="The largest number of images.")
@server_options
def similar(*, image_id: str, limit: int, server: str | None, key: str | None) -> None:
    """List the images that look most like this one: similarity, image, job and what it shows."""
    with make_client(server, key) as client:
        for image in client.images.similar(image_id, limit=limit).items:
            click.echo(f"{image.similarity:.3f}  {image.id}  {image.job}  {image.alt_text or ''}".rstrip())

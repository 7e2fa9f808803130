"""A request to a service of the operator ends after its time limit, whatever the service sends."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from limner_worker.stages.timed_posts import MAX_ANSWER_BYTES, NotSent, PostError, TimedPosts

SECONDS = 0.5
MANY_SECONDS = 30


@contextmanager
def service_that(send: Callable[[socket.socket], None], seconds: float, *, then: bytes = b"") -> Iterator[TimedPosts]:
    """A client of a server that reads a request, calls `send`, and sends `then` again and again."""
    ended = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                send(connection)
                while then and not ended.wait(0.01):
                    connection.sendall(then)
            except OSError:  # the client has hung up
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        posts = TimedPosts(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", "", seconds)
        yield posts
        posts.close()
        ended.set()
        thread.join()


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", b"x"),
    ],
    ids=["interim answers", "a header", "a body"],
)
def test_a_service_that_never_comes_to_its_end_is_given_up_after_the_time_limit(first: bytes, then: bytes) -> None:
    started = time.monotonic()
    with (
        service_that(lambda connection: connection.sendall(first), SECONDS, then=then) as posts,
        pytest.raises(PostError, match=r"within 0\.5 seconds"),
    ):
        posts.post("moderations", {})
    assert time.monotonic() - started < 10


def test_a_compressed_answer_is_not_expanded() -> None:
    content = gzip.compress(b" " * (20 * MAX_ANSWER_BYTES))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    with service_that(lambda connection: connection.sendall(head + content), MANY_SECONDS) as posts:
        assert posts.post("moderations", {}) == (200, content)


def test_a_request_that_found_no_connection_was_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    posts = TimedPosts(f"http://127.0.0.1:{port}/v1", "", MANY_SECONDS)
    with pytest.raises(NotSent):
        posts.post("moderations", {})
    posts.close()

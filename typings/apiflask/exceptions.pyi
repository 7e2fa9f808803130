class HTTPError(Exception):
    status_code: int
    message: str | None

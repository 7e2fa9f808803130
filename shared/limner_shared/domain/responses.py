"""Responses of OpenAI's API: a response is a job with a mark in its metadata, which any client could write. No I/O."""

from __future__ import annotations

from typing import Final

MARK: Final = "openai_response"
"""The member of a job's metadata by which it is a response."""
JOB: Final = "job_"
RESPONSE: Final = "resp_"


def response_id(job_id: str) -> str:
    """The id of a job's response."""
    return RESPONSE + job_id.removeprefix(JOB)


def job_id_of(response: str) -> str:
    """The id of the job of a response; any other text yields the id of no job."""
    return JOB + response.removeprefix(RESPONSE) if response.startswith(RESPONSE) else ""

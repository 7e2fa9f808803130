"""The tasks that chat programs give to a conversation's model beside its messages: a title, tags, what to ask next.

Open WebUI and LibreChat send them by themselves after each message, without a user who wants a picture. They are
answered in words. No I/O.
"""

from __future__ import annotations

import json
import re
from typing import Final

BEGINNINGS: Final = (
    "### Task:",  # Open WebUI
    "Provide a concise, 5-word-or-less title for the conversation",  # LibreChat
    "Analyze this conversation and provide:",
)
MEMBER: Final = re.compile(r'JSON format: \{ *"(\w+)": *(.)')
"""The member that the program reads from the answer, and how its value begins."""
SAID: Final = re.compile(r"^user: *(\S.*)$", re.IGNORECASE | re.MULTILINE)
MAX_TITLE_CHARS: Final = 60
NO_TITLE: Final = "Pictures"


def answer(text: str) -> str | None:
    """What to answer to a task: JSON if it asks for that, with what the user has said; None for any other message."""
    if not text.lstrip().startswith(BEGINNINGS):
        return None
    said = [line.strip() for line in SAID.findall(text)]
    member = MEMBER.search(text)
    if member is None or member[1] == "title":
        title = said[0][:MAX_TITLE_CHARS].strip() if said else NO_TITLE
        return title if member is None else json.dumps({"title": title}, ensure_ascii=False)
    if member[2] != '"':  # tags, queries, follow-ups: there are none
        return json.dumps({member[1]: []})
    return json.dumps({member[1]: said[-1] if said else ""}, ensure_ascii=False)

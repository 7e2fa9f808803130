"""Conditions by rules alone: never wrong in form, never without the subject, at once, in eight languages. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from limner_shared.conditions import Conditions, Turn
from limner_worker.llm import emoji, words

MOST = 1000
READ = 1500
"""Characters that are searched for what is asked; whatever follows is prompt as it is. So no text takes long."""
MAX_SIDE = 65536
ROUNDS = 8
"""So many words of asking may stand before one another."""
WIDE = "\u2e80"
"""From here on lie the scripts that are written without spaces (and Korean, for which one less does no harm)."""
Pattern = re.Pattern[str]


def _all(sources: Iterable[str]) -> tuple[Pattern, ...]:
    return tuple(re.compile(source, re.IGNORECASE) for source in sources)


_NUMBER = "|".join(sorted((*words.NUMBERS, r"\d{1,7}"), key=len, reverse=True))
_COUNTED = _all(source.replace("{number}", _NUMBER) for source in words.COUNTED)
_WITHOUT = _all(source.replace("{thing}", words.THING) for source in words.WITHOUT)
_DANGLING = re.compile(words.DANGLING, re.IGNORECASE)
_MORE_OF_A_COLOUR = re.compile(words.MORE_OF_A_COLOUR, re.IGNORECASE)
_LEADING = re.compile(r"^[\s,]*(and|with|und|mit|y|con|et|avec|и|с)(?!\w)[\s,]*", re.IGNORECASE)
_SEED, _SIZE = _all(words.SEED), _all(words.SIZE)
_LEAD_INS = _all(rf"^[\s¿¡]*{source}[\s,:!]*" for source in (*words.LEAD_INS, *words.PICTURE_OF))
_TAILS = _all(rf"{source}\s*[.!?。！？]*\s*$" for source in words.TAILS)
_POLITE_TAILS = _all(rf"{source}\s*[.!?。！？]*\s*$" for source in words.POLITE_TAILS)
_SHAPES = {shape: _all(sources) for shape, sources in words.SHAPES.items()}
_JOINED_TWICE = re.compile(words.JOINED_TWICE, re.IGNORECASE)
_WORD = re.compile(r"\w")
_AFTER = _all(words.PICTURES_AFTER)
_SAME, _CHANGE, _CHANGE_AFTER = _all(words.SAME), _all(words.CHANGE), _all(words.CHANGE_AFTER)
_AGAIN, _FILLERS = _all(words.AGAIN), _all(words.FILLERS)
_ORDINALS = {place: re.compile(source, re.IGNORECASE) for place, source in words.ORDINALS.items()}
_COLOURS = {form: colour for colour, forms in words.COLOURS.items() for form in forms}
_LATIN_COLOUR = re.compile(
    rf"(?<!\w)({'|'.join(sorted((form for form in _COLOURS if form[0] < WIDE), key=len, reverse=True))})(?!\w)",
    re.IGNORECASE,
)
_CJK_COLOUR = re.compile("|".join(sorted((form for form in _COLOURS if form[0] >= WIDE), key=len, reverse=True)))


@dataclass
class _Found:
    """What was found in a text, and what is left of it."""

    text: str
    negative: list[str]
    style: str | None = None
    size: tuple[int, int] | None = None
    n: int | None = None
    seed: int | None = None


def interpret(
    text: str, styles: Sequence[str], history: Sequence[Turn] = (), sizes: Sequence[tuple[int, int]] = ()
) -> Conditions:
    """The conditions of a description; with a history, of a message that may change the picture before.

    Where nothing sensible would be left, the user's own words are the prompt.
    """
    previous: list[Conditions] = []
    for turn in history:
        known = turn.conditions or _one(turn.text, styles, sizes, previous)
        previous.append(known)
    return _one(text, styles, sizes, previous)


def _one(
    text: str, styles: Sequence[str], sizes: Sequence[tuple[int, int]], previous: Sequence[Conditions]
) -> Conditions:
    read, unread = text[:READ], text[READ:]
    found = _take_apart(emoji.spelled(read), styles, sizes)
    if previous and not unread and (changed := _changed(found, previous)):
        return changed
    return _anew(read, unread, found, previous)


def _anew(read: str, unread: str, found: _Found, previous: Sequence[Conditions]) -> Conditions:
    """A subject of its own; in a conversation it keeps the style and the size that were agreed on."""
    subject = _subject(found.text)
    before = previous[-1] if previous else None
    size = found.size or ((before.width, before.height) if before else (None, None))
    return Conditions(
        prompt=(subject or _tidy(emoji.spelled(read)) or read.strip() or "?") + unread,
        # A subject that would be left out by its own words ("no smoking") is one.
        negative_prompt=", ".join(found.negative) if subject else "",
        style=found.style or (before.style if before else None),
        width=size[0],
        height=size[1],
        n=found.n,
        seed=found.seed,
    )


def _changed(found: _Found, previous: Sequence[Conditions]) -> Conditions | None:
    """The picture before, or the one that is named, with what the message changes; None if it is about another."""
    rest, is_same = _strip_first(_SAME, found.text)
    rest, again = _strip_all(_AGAIN, rest)
    rest, is_change = _strip_first(_CHANGE, rest.strip())
    rest, is_change_after = _strip_first(_CHANGE_AFTER, rest.rstrip(" .!?。！？"))
    before, rest, named = _named(rest, previous)
    is_change = is_change or bool(_MORE_OF_A_COLOUR.search(rest))
    colour = _colour(rest)
    if colour is not None and _MORE_OF_A_COLOUR.search(rest):
        before = before.model_copy(update={"prompt": _coloured(before.prompt, colour)})
        rest = _DANGLING.sub("", _LEADING.sub("", _MORE_OF_A_COLOUR.sub("", rest)))
        colour = _colour(rest)
    left = _strip_all(_FILLERS, rest)[0].strip()
    only_colour = colour is not None and not _strip_all(_FILLERS, _without_colours(rest))[0].strip()
    something = bool(found.style or found.size or found.n or found.negative or found.seed is not None)
    if not (is_same or is_change or is_change_after or again or named or only_colour or (something and not left)):
        return None
    # Again means another one like it, unless it is said which one: then that very one.
    seed = found.seed if found.seed is not None else (None if again and not named else before.seed)
    prompt = before.prompt
    if colour is not None and only_colour:
        prompt = _coloured(prompt, colour)
    elif left and (is_same or is_change or is_change_after):
        prompt = f"{prompt}, {_tidy(rest)}"
    for thing in found.negative:
        prompt = _removed(prompt, thing)
    negative = [part for part in before.negative_prompt.split(", ") if part] + found.negative
    size = found.size or (before.width, before.height)
    return Conditions(
        prompt=prompt,
        negative_prompt=", ".join(dict.fromkeys(negative)),
        style=found.style or before.style,
        width=size[0],
        height=size[1],
        n=found.n or (1 if again or named else before.n),
        seed=seed,
    )


def _take_apart(text: str, styles: Sequence[str], sizes: Sequence[tuple[int, int]]) -> _Found:
    found = _Found(text=_without_tails(" ".join(text.split()), _POLITE_TAILS), negative=[])
    if match := _cut(found, _SEED):
        seed = int(match["seed"])
        found.seed = seed if seed < 2**32 else None
    if match := _cut(found, _SIZE):
        size = int(match["w"]), int(match["h"])
        found.size = size if max(size) <= MAX_SIDE else None
    for style in sorted(styles, key=len, reverse=True):
        if found.style is None and _cut(found, _style_patterns(style)):
            found.style = style
    if match := _cut(found, _COUNTED):
        found.n = _number(match)
    for shape, patterns in _SHAPES.items():
        if found.size is None and _cut(found, patterns):
            found.size = _shaped(shape, sizes)
    while match := _cut(found, _WITHOUT):
        found.negative.append(_tidy(match["what"]))
    if found.negative:
        found.text = _JOINED_TWICE.sub(r"\g<last>", found.text)
    return found


def _shaped(shape: str, sizes: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """The size that is meant by a word, where there is one."""
    by_area = sorted(sizes, key=lambda size: size[0] * size[1])
    fitting = {
        "small": by_area[:1],
        "large": by_area[-1:],
        "square": [size for size in sizes if size[0] == size[1]],
        "wide": [size for size in sizes if size[0] > size[1]],
        "tall": [size for size in sizes if size[0] < size[1]],
    }[shape]
    return fitting[0] if fitting else None


def _cut(found: _Found, patterns: Iterable[Pattern]) -> re.Match[str] | None:
    """Take the first match out of the text, unless nothing else would be left where something must be."""
    for pattern in patterns:
        match = pattern.search(found.text)
        if match is not None and (match.group().strip()):
            found.text = _joined(found.text[: match.start()].rstrip(), found.text[match.end() :].lstrip())
            return match
    return None


def _joined(left: str, right: str) -> str:
    """Two parts of a text, with a space where its script has spaces."""
    wide = bool(left and right) and left[-1] >= WIDE and right[0] >= WIDE
    return f"{left}{'' if wide else ' '}{right}".strip()


def _style_patterns(style: str) -> tuple[Pattern, ...]:
    name = re.escape(style).replace(r"\-", "[- ]")
    framed = (frame.replace("{style}", name) for frame in words.STYLE_FRAMES)
    return _all((*words.STYLES.get(style, ()), *framed))


def _number(match: re.Match[str]) -> int | None:
    groups = {name: value for name, value in match.groupdict().items() if value}
    for name, value in groups.items():
        if value.isdecimal():
            return min(MOST, int(value)) or None
        table = words.CJK_NUMBERS if name == "cjk" else words.KOREAN_NUMBERS if name in ("ko", "ko2") else words.NUMBERS
        return table.get(value.lower())
    return None


def _subject(text: str) -> str:
    """What is left of a text without the asking; empty if nothing is."""
    for _ in range(ROUNDS):
        before = text
        for pattern in (*_LEAD_INS, *_TAILS, *_AFTER):
            shorter = pattern.sub("", text, count=1)
            text = shorter if _tidy(shorter) else text
        if before == text:
            break
    tidy = _tidy(text)
    return _tidy(_DANGLING.sub("", " " + tidy))


def _without_tails(text: str, tails: Iterable[Pattern]) -> str:
    for pattern in tails:
        shorter = pattern.sub("", text, count=1)
        text = shorter if _tidy(shorter) else text
    return text


def _tidy(text: str) -> str:
    """Without what taking parts out has left: loose commas, empty brackets; empty if no word is left."""
    joined = re.sub(r"[(\[]\s*[)\]]", "", " ".join(text.split()))
    joined = re.sub(r"\s+([,.;:!?])", r"\1", joined)
    joined = re.sub(r"([,;，、])(\s*[,;，、])+", r"\1", joined)
    stripped = joined.strip(" ,.;:!?¿¡，。、；：！？\"“”'-")
    return stripped if _WORD.search(stripped) else ""


def _strip_first(patterns: Iterable[Pattern], text: str) -> tuple[str, bool]:
    for pattern in patterns:
        match = pattern.search(text)
        if match is not None and match.group():
            return f"{text[: match.start()]} {text[match.end() :]}".strip(), True
    return text, False


def _strip_all(patterns: Iterable[Pattern], text: str) -> tuple[str, bool]:
    before = text
    for pattern in patterns:
        text = pattern.sub(" ", text)
    return text, text != before


def _named(text: str, previous: Sequence[Conditions]) -> tuple[Conditions, str, bool]:
    """Which earlier picture is meant ("the first one"), and the text without its name."""
    for place, pattern in _ORDINALS.items():
        if pattern.search(text) and -len(previous) <= place < len(previous):
            rest = pattern.sub(" ", text)
            if not _strip_all(_FILLERS, rest)[0].strip() or len(rest.split()) > len(text.split()) - 2:
                return previous[place], rest, True
    return previous[-1], text, False


def _colour(text: str) -> str | None:
    match = _LATIN_COLOUR.search(text) or _CJK_COLOUR.search(text)
    return None if match is None else _COLOURS.get(match.group().lower())


def _without_colours(text: str) -> str:
    return _CJK_COLOUR.sub(" ", _LATIN_COLOUR.sub(" ", text))


def _coloured(prompt: str, colour: str) -> str:
    """The prompt with its first colour replaced, or with one in front."""
    article = re.match(r"(an?|the) ", prompt)
    if _LATIN_COLOUR.search(prompt):
        return _LATIN_COLOUR.sub(colour, prompt, count=1)
    if _CJK_COLOUR.search(prompt):
        return f"{colour} {_CJK_COLOUR.sub('', prompt, count=1).lstrip('的いな ')}"
    if article is not None:
        return f"{'a' if article[1] == 'an' and colour != 'orange' else article[1]} {colour} {prompt[article.end() :]}"
    return f"{colour} {prompt}"


def _removed(prompt: str, thing: str) -> str:
    """The prompt without "with a hat", where a hat is not wanted any more."""
    name = re.escape(re.sub(r"^(the|a|an|den|die|das|el|la|le|les) ", "", thing, flags=re.IGNORECASE))
    without = re.sub(
        rf"[\s,]*(\b(with|and|wearing|mit|und|con|y|avec|et)\s+)?(an?\s+|the\s+)?{name}\b",
        "",
        prompt,
        flags=re.IGNORECASE,
    )
    return _tidy(without) or prompt

"""Where parts of a message begin and end in Korean, and in scripts without spaces. No I/O."""

from __future__ import annotations

import re
from typing import Final

from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import HANGUL, NAMES_IN_I

_OF_PICTURE: Final = ("old", "gone")
"""Roles of things that the picture has."""
_SHORTEST: Final = 2
"""The fewest characters of a thing by which it is found."""
_ENDING: Final = re.compile(r"[\u3041-\u309f\u7684]{1,3}$")
"""Hiragana, and 的, which follow a thing in a message."""
_PARTICLE: Final = re.compile("[をはがのにとでもへや]")
_MARKER: Final = re.compile(r"^[을를은는이가]\s+")
"""A Korean particle of the word before."""
_THING: Final = re.compile(r"\s(?:걸|것|거|게)(?:로)?$")
_SUBJECT_MARK: Final = re.compile("(?<=[가-힣]{2})[가이]$")
"""A Korean particle behind a name that may end with it."""
_WORD_END: Final = re.compile(
    "[\u4e00-\u9fff]+[れきりちみけせ]?(?=[がをはにでの、。])|[っんい]?[てで]い?る|る(?=[ほのと])"
)
"""The end of a Japanese word of which a tagger has only the beginning: "夕" of "夕暮れ"."""
_NOUN_END: Final = re.compile("(?![をがはにでも])[\u3041-\u309f\u30a1-\u30ff\u4e00-\u9fff]{1,3}?(?=[がを])")
"""The end of a Japanese noun before its particle: "み" of "湯のみ"."""
_SLIGHTLY: Final = re.compile("^(?:もう)?(?:ちょい|ちょっと|少し)")
_BESIDE: Final = re.compile("(?:앞|뒤|옆|위|아래|안|밑|곁|사이)에(?= )")
"""Where something is in Korean, after the thing that it is beside."""
_SET: Final = re.compile(
    "^(?:(?:时间|天气|背景|地点|场景)(?:就)?(?:放在|改成|换成|设在|设成|变成|是)|(?:放在|设在|换到)(?=..))"
)
"""Chinese words that set a time or a place."""
_PARTICLE_FIRST: Final = re.compile(r"^(?:에|에서|에는|의|을|를|은|는|이|가|도)\s+")
"""A Korean particle of the word before."""
_OBJECT: Final = re.compile("(?<=[가-힣])[을를은는이가도]$")
"""A Korean particle behind a thing."""
_TOO: Final = re.compile("(?<=..)도$")
_MEASURE: Final = re.compile("^[面条只个把张辆匹座片朵本件位棵架艘](?=..)")
"""A Chinese measure word between "this", "that" or a number, and its thing."""
_COUNT: Final = "(?:하나|둘|셋|(?:한|두|세|네|몇) ?(?:마리|개|명|송이|잔|대|그루|채|장|권|벌|쌍|조각|그릇))"
_MEASURED: Final = re.compile("[个只位条张头匹辆座棵](?![个只位条张头匹辆座棵])([\u4e00-\u9fff])$")
"""A Chinese measure word, and one character of a thing behind it."""
_COUNTED: Final = re.compile("[一二两三四五六七八九十几][个只位条张头匹辆座棵]([\u4e00-\u9fff]{2,4})$")
"""A Chinese number and measure word, and the beginning of what is counted."""
_LETTER: Final = re.compile(r"[\u3041-\u309f]")
_WHEN: Final = re.compile("(?<=[가-힣])에는?$")
"""What follows a time in Korean."""


def unspaced(role: str, text: str, said: str, prompt: str, language: Language) -> str:
    """Return a part of a message as the prompt has it, without particles and verbs around it."""
    if HANGUL.search(text):
        return _korean(role, text, said, prompt)
    return (_japanese if language.code == "ja" else _chinese)(role, text, said, prompt)


def _korean(role: str, text: str, said: str, prompt: str) -> str:
    at = said.find(text)
    if at > 0 and HANGUL.match(said[at - 1]) and " " in text:  # "[대]문을 갈색"
        text = text.split(" ", 1)[1]
    text = _PARTICLE_FIRST.sub("", text)
    if role in _OF_PICTURE and text not in prompt and _OBJECT.sub("", text) in prompt:
        return _OBJECT.sub("", text)  # "문을"
    if role == "added" and _BESIDE.match(text) and (thing := re.search(rf"([가-힣]+) {re.escape(text)}", said)):
        text = f"{thing[1]} {text}"
    if role in ("added", "subject"):
        return _counted(_TOO.sub("", text), said)
    if role in ("quality", "new"):
        text = _THING.sub("", text)
        named = NAMES_IN_I.search(text) or re.search(rf"{re.escape(text)}(?:로|를|랑|처럼)", said)
        return text if named else _SUBJECT_MARK.sub("", text)
    return _WHEN.sub("", _MARKER.sub("", text)) if role == "place" else text


def _counted(text: str, said: str) -> str:
    """Return a Korean thing with how many of it a message says behind it: "창문 하나"."""
    count = re.search(rf"{re.escape(text)}(?:[을를이가도])?(\s{_COUNT})(?![가-힣])", said)
    return text if count is None else f"{text}{count[1]}"


def _japanese(role: str, text: str, said: str, prompt: str) -> str:
    if role in _OF_PICTURE:
        return _as_shown(text, said, prompt)
    if role == "look":
        text = f"もっと{text}" if f"もっと{text}" in said else text
        named = re.match("雰囲気|感じ|色|印象|表情", said[said.find(text) + len(text) :])
        text = f"{text}{named.group()}" if named is not None and text.endswith("な") else text
        text = _SLIGHTLY.sub("", text)
        return "" if _LETTER.fullmatch(text) else f"{text}に" if f"{text}に" in said else text  # "もっと不気味に"
    ends = {"place": _WORD_END, "added": _NOUN_END}
    end = ends[role].match(said, said.find(text) + len(text)) if role in ends else None
    return text if end is None else f"{text}{end.group()}"


def _chinese(role: str, text: str, said: str, prompt: str) -> str:
    if role in _OF_PICTURE:
        measured = re.search(rf"[这那]{re.escape(text)}", said) is not None
        return _as_shown(_MEASURE.sub("", text) if measured else text, said, prompt)
    if role in ("added", "subject"):
        before = said[: max(0, said.find(text))]
        if re.search("[一二两三四五六七八九十几]$", before):
            text = _MEASURE.sub("", text)  # "两[张]会做饭的章鱼"
        led = _MEASURED.search(before) or _COUNTED.search(before)
        return text if led is None else f"{led[1]}{text}"  # "个[会]飞的房子"
    if role == "look":
        cut = re.search(rf"(?:色|气|氛|光|整)(?={re.escape(text)})", said) if text[:1] in "调氛围线体" else None
        cut = cut or re.search(rf"(?:气氛|氛围|光线|色调|表情)(?={re.escape(text)})", said)
        return f"{cut.group()}{text}" if cut is not None else text.removeprefix("再")
    return _SET.sub("", text) if role == "place" else text


def _as_shown(thing: str, said: str, prompt: str) -> str:
    """Return a thing with the characters after it that message and prompt share, or without an ending that is none."""
    if HANGUL.search(thing):
        return thing
    shown = prompt.find(thing)
    if shown < 0:
        bare = _ENDING.sub("", thing)
        return bare if len(bare) >= _SHORTEST and bare in prompt else thing
    at, end = said.find(thing) + len(thing), shown + len(thing)
    rest = 0
    while (
        _PARTICLE.match(said, at + rest) is None
        and at + rest < len(said)
        and end + rest < len(prompt)
        and said[at + rest] == prompt[end + rest]
    ):
        rest += 1
    return f"{thing}{said[at : at + rest]}" if said[at : at + rest].isalpha() else thing

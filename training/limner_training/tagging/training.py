"""Trains the taggers of words on synthetic descriptions and messages, and keeps their weights with the others."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from limner_training.tagging.descriptions import Described, Writer
from limner_training.tagging.messages import MessageWriter
from limner_worker.generators.text_encoding.e5_file import installed
from limner_worker.generators.text_encoding.token_states import TokenStates, likeness
from limner_worker.networks.weights import load_module, save_module
from limner_worker.networks.word_tagger import DESCRIPTION_ROLES, MESSAGE_ROLES, WordTagger
from limner_worker.stages.interpretation.language.files import BY_CODE

ENCODED: Final = 64
"""Texts that are encoded together."""
JUDGED: Final = 80
"""Texts of each language, of phrases that are held out, by which a network is judged."""
WARMING: Final = 50
"""Steps over which the learning rate rises."""
_IGNORED: Final = -1


class Kind(NamedTuple):
    """A tagger: the texts that it reads, their roles, and the file of its weights."""

    writer: type[Writer | MessageWriter]
    roles: Sequence[str]
    told_apart: str | None
    """The role by which it is judged; all of them if it is None."""
    weights: str
    inner: int
    """The width of the network."""
    likened: bool
    """Whether it reads how like the pieces of a text are to a picture's prompt."""


DESCRIPTIONS: Final = Kind(Writer, DESCRIPTION_ROLES, "asking", "tagger.safetensors", 96, likened=False)
FOLLOW_UPS: Final = Kind(MessageWriter, MESSAGE_ROLES, None, "follow-ups.safetensors", 256, likened=True)


class Example(NamedTuple):
    """The states of a text's pieces [T, 384] in float16, how like they are to a prompt [T, 2], and their roles [T]."""

    states: Tensor
    likeness: Tensor
    roles: Tensor


def examples(kind: Kind, encoder: TokenStates, each: int, seed: int, *, held_out: bool) -> list[Example]:
    """Return `each` examples of every language."""
    described: list[Described] = []
    for code in BY_CODE:
        write = kind.writer(code, random.Random(f"{code} {seed}"), held_out=held_out)  # noqa: S311 - reproducible texts
        described += [write() for _ in range(each)]
    described.sort(key=lambda one: len(one.text))  # texts of about one length are encoded together
    found: list[Example] = []
    for start in range(0, len(described), ENCODED):
        some = described[start : start + ENCODED]
        with torch.autocast("cpu", torch.bfloat16):  # several times as fast where the processor has matrix units
            read, prompts = encoder([one.text for one in some]), encoder([one.prompt for one in some])
        for one, text, prompt in zip(some, read, prompts, strict=True):
            roles = torch.tensor([one.roles[piece.end - 1] for piece in text.pieces])
            found.append(Example(text.states.half(), likeness(text, prompt).half(), roles))
    return [example for example in found if len(example.roles)]


class TaggerOptions(NamedTuple):
    """What a run of the training does."""

    folder: Path
    """Where the weights are saved after each epoch."""
    each: int
    """Texts of every language."""
    epochs: int
    batch: int
    rate: float
    seed: int
    continued: bool = False
    """Whether it starts from the weights in the folder."""


def train_tagger(kind: Kind, options: TaggerOptions, on_progress: Callable[[str], None]) -> None:
    """Train a tagger. Raises WeightsError if there are no weights to start from."""
    folder, each, epochs, batch, rate, seed, continued = options
    weights = folder / kind.weights
    network = (
        load_module(WordTagger, weights)
        if continued
        else WordTagger(kind.roles, inner=kind.inner, likened=kind.likened)
    )
    encoder = TokenStates(installed())
    known = examples(kind, encoder, each, seed, held_out=False)
    judged = examples(kind, encoder, JUDGED, seed, held_out=True)
    optimizer = torch.optim.AdamW(network.parameters(), rate)
    total = epochs * -(-len(known) // batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / WARMING) * max(0.02, 1 - step / total)
    )
    choose = random.Random(seed)  # noqa: S311 - reproducible batches
    for epoch in range(epochs):
        started = time.monotonic()
        network.train()
        for some in _batches(known, batch, choose):
            optimizer.zero_grad()
            cast("Any", loss(network, some)).backward()
            cast("Any", optimizer).step()
            schedule.step()
        save_module(network, weights, network.config)
        right, seconds = accuracy(network, judged, kind), time.monotonic() - started
        on_progress(f"epoch {epoch + 1}: right in held-out phrases {right:.3f}, {seconds:.0f} s")


def loss(network: WordTagger, some: Sequence[Example]) -> Tensor:
    """Return the mean cross-entropy over the pieces of some examples."""
    logits, roles = _read(network, some)
    return F.cross_entropy(logits.flatten(0, 1), roles.flatten(), ignore_index=_IGNORED)


@torch.inference_mode()
def accuracy(network: WordTagger, judged: Sequence[Example], kind: Kind = DESCRIPTIONS) -> float:
    """Return the share of pieces whose role the network knows, or of which it knows whether they have one."""
    network.eval()
    right = count = 0
    for start in range(0, len(judged), ENCODED):
        logits, roles = _read(network, judged[start : start + ENCODED])
        there, found = roles != _IGNORED, logits.argmax(-1)
        if kind.told_apart is not None:
            one = kind.roles.index(kind.told_apart)
            found, roles = found == one, roles == one
        right += int(((found == roles) & there).sum())
        count += int(there.sum())
    return right / max(1, count)


def _read(network: WordTagger, some: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Return logits [B, T, roles], and roles [B, T] with padding that is ignored."""
    states = pad_sequence([one.states.float() for one in some], batch_first=True)
    lengths = torch.tensor([len(one.roles) for one in some])
    roles = pad_sequence([one.roles for one in some], batch_first=True, padding_value=_IGNORED)
    alike = pad_sequence([one.likeness.float() for one in some], batch_first=True)
    return network(states, lengths, alike), roles


def _batches(known: Sequence[Example], size: int, choose: random.Random) -> list[list[Example]]:
    """Return shuffled batches of examples of about one length."""
    order = sorted(known, key=lambda one: len(one.roles) + 8 * choose.random())
    found = [order[start : start + size] for start in range(0, len(order), size)]
    choose.shuffle(found)
    return found

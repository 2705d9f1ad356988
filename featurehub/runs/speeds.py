"""How fast the engine of a run works on this machine, measured by a little of the work itself."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

import torch
from torch.nn.functional import normalize

from featurehub.dictionary import Dictionary
from featurehub.edits import LatentEdit, Steering
from featurehub.engine.offline import Engine, Sampling
from featurehub.features import Mode
from featurehub.runs.progress import SILENT, Progress
from featurehub.settings import Frozen
from featurehub.token_ids import special_ids
from saes.activations import FeatureActivations, encode_documents
from saes.documents import Document, count_tokens

__all__ = ["Speeds", "measure_speeds", "reading_speed", "untrained"]

TRIED_TOKENS = (512, 4096)
TRIED_ANSWERS = (16, 48)
"""Of each the second is tried only if the first took no longer than ``PATIENCE``: many at a time go faster than few."""
PATIENCE = 2.0
ANSWER_TOKENS, TRIED_LENGTH = 48, 9
"""Tokens of an answer whose speed is told, and of those that are given to measure it: its prompt is read once only."""

Try = TypeVar("Try")


class Speeds(Frozen):
    """Speeds of an engine of the whole model with an SAE.

    Attributes:
        start: Seconds in which it starts.
        read: Tokens per second of documents that are read and encoded.
        answer: Tokens per second of answers that are not steered.
        steered: Tokens per second of answers that are.
    """

    start: float
    read: float
    answer: float
    steered: float


def measure_speeds(
    engine: Engine, dictionary: Dictionary, documents: Sequence[Document], start: float, progress: Progress = SILENT
) -> Speeds:
    """Lets an engine read and answer a little.

    Args:
        engine: An engine of the whole model with the SAE.
        dictionary: The SAE.
        documents: What to read, and what to answer.
        start: Seconds in which the engine started.
        progress: Told of it as of a phase.
    """
    with progress.phase("measuring how fast the model reads and answers"):
        return speeds_of(engine, dictionary, documents, start)


def speeds_of(engine: Engine, dictionary: Dictionary, documents: Sequence[Document], start: float) -> Speeds:
    prompts = [document.token_ids[: document.prompt_len] for document in beginning(documents, TRIED_TOKENS[-1])]
    return Speeds(
        start=start,
        read=reading_speed(engine, dictionary, documents),
        answer=answering_speed(engine, prompts, lambda i: None),
        steered=answering_speed(engine, prompts, lambda i: nudge(i // 4 % dictionary.d_sae)),
    )


def reading_speed(engine: Engine, dictionary: Dictionary, documents: Sequence[Document]) -> float:
    """Tokens per second that an engine reads and an SAE encodes.

    Args:
        engine: Reads at the hook point; the whole model or the layers up to there.
        dictionary: The SAE.
        documents: What to read a little of.
    """
    engine.capture([documents[0].token_ids])
    special = special_ids(engine.tokenizer)

    def encode(own: Sequence[Document]) -> FeatureActivations:
        return encode_documents(engine, dictionary, own, special)

    tries = [beginning(documents, tokens) for tokens in TRIED_TOKENS]
    return speed({count_tokens(own): lambda own=own: encode(own) for own in tries})


def beginning(documents: Sequence[Document], tokens: int) -> Sequence[Document]:
    """The first documents, of at most so many tokens; at least one."""
    sizes = accumulate(len(document.token_ids) for document in documents)
    return documents[: max(1, sum(size <= tokens for size in sizes))]


def answering_speed(engine: Engine, prompts: Sequence[list[int]], steering: Callable[[int], Steering | None]) -> float:
    """Tokens per second, counting as calibration and the baseline do: an answer has as many as it may have."""

    def seconds(count: int, tokens: int) -> float:
        asked = [prompts[i % len(prompts)] for i in range(count)]
        steerings = [steering(i) for i in range(count)]
        return seconds_of(lambda: list(engine.generate(asked, steerings, Sampling(max_tokens=tokens))))

    found = 0.0
    for count in patiently(TRIED_ANSWERS):
        found = count * ANSWER_TOKENS / whole_answers(seconds(count, 1), seconds(count, TRIED_LENGTH))
    return found


def whole_answers(first: float, tried: float) -> float:
    """Seconds of answers of ``ANSWER_TOKENS``, from those of their first tokens and of ``TRIED_LENGTH`` tokens."""
    each = max(0.0, tried - first) / (TRIED_LENGTH - 1)
    return first + (ANSWER_TOKENS - 1) * each


def speed(tries: Mapping[int, Callable[[], object]]) -> float:
    """Tokens per second of the last try, by the tokens of each; later tries are left out once one took too long."""
    found = 0.0
    for tokens, work in patiently(tries.items()):
        found = tokens / seconds_of(work)
    return found


def patiently(tries: Iterable[Try]) -> Iterator[Try]:
    """Yields tries until one has taken longer than ``PATIENCE``."""
    for each in tries:
        began = time.monotonic()
        yield each
        if time.monotonic() - began > PATIENCE:
            return


def nudge(latent: int) -> Steering:
    return Steering(edits=(LatentEdit(latent=latent, mode=Mode.NUDGE, value=1e-3),))


def untrained(d_sae: int, d_model: int) -> Dictionary:
    """An SAE of random directions, none of which is ever active: it costs an engine what a trained one costs."""
    rows = normalize(torch.randn(d_sae, d_model, generator=torch.Generator().manual_seed(0)), dim=-1)
    zeros = torch.zeros(d_sae)
    return Dictionary(rows.clone(), rows, zeros, torch.zeros(d_model), torch.full((d_sae,), 1e9))


def seconds_of(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return max(time.monotonic() - started, 1e-6)

"""How fast the engine of a run works on this machine, measured by a little of the work itself."""

import time
from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch.nn.functional import normalize

from featurehub.dictionary import Dictionary
from featurehub.edits import LatentEdit, Steering
from featurehub.engine.offline import Engine, Sampling
from featurehub.features import Mode
from featurehub.settings import Frozen
from saes.activations import encode_documents
from saes.documents import Document, special_ids

__all__ = ["Speeds", "measure_speeds", "untrained"]

TRIED_TOKENS = 4096
TRIED_ANSWERS, ANSWER_TOKENS = 48, 12


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


def measure_speeds(engine: Engine, dictionary: Dictionary, documents: Sequence[Document], start: float) -> Speeds:
    """Lets an engine read and answer a little.

    Args:
        engine: An engine of the whole model with the SAE.
        dictionary: The SAE.
        documents: What to read, and what to answer.
        start: Seconds in which the engine started.
    """
    sizes = accumulate(len(document.token_ids) for document in documents)
    tried = [document for document, size in zip(documents, sizes, strict=False) if size <= TRIED_TOKENS]
    tried = tried or list(documents[:1])
    engine.capture([tried[0].token_ids])
    special = special_ids(engine.tokenizer)
    seconds = seconds_of(lambda: encode_documents(engine, dictionary, tried, special))
    prompts = [document.token_ids[: document.prompt_len] for document in tried]
    return Speeds(
        start=start,
        read=sum(len(document.token_ids) for document in tried) / seconds,
        answer=answering_speed(engine, prompts, lambda i: None),
        steered=answering_speed(engine, prompts, lambda i: nudge(i // 4 % dictionary.d_sae)),
    )


def answering_speed(engine: Engine, prompts: Sequence[list[int]], steering: Callable[[int], Steering | None]) -> float:
    asked = [prompts[i % len(prompts)] for i in range(TRIED_ANSWERS)]
    steerings = [steering(i) for i in range(TRIED_ANSWERS)]
    sampling = Sampling(max_tokens=ANSWER_TOKENS)
    seconds = seconds_of(lambda: list(engine.generate(asked, steerings, sampling)))
    # As calibration and the baseline count: an answer has as many tokens as it may have.
    return TRIED_ANSWERS * ANSWER_TOKENS / seconds


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

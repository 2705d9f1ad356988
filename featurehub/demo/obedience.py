"""Does a model do what its prompts ask, and does it vary? Measured with the recogniser on held-out prompts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice

from transformers import LlamaForCausalLM

from featurehub.demo.corpus import prompts
from featurehub.demo.prompts import PromptKind
from featurehub.demo.recognizer import Verdict, recognize
from featurehub.demo.sampling import sample_answers

__all__ = ["Obedience", "measure_obedience"]

REPEATED = 50


@dataclass(frozen=True)
class Obedience:
    """Shares in 0..1, but ``distinct``: how many of 50 answers to one prompt differ, at worst over the kinds.

    ``topic`` and ``manner`` are over the prompts that ask for one; an answer obeys iff it *shows* what was asked for.
    """

    prompts_of_each_kind: int
    topic: float
    manner: float
    well_formed: float
    distinct: int

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def measure_obedience(model: LlamaForCausalLM, *, count: int, seed: int) -> Obedience:
    """Asks ``count`` held-out prompts of each kind once, and one prompt of each kind 50 times."""
    kinds: tuple[PromptKind, ...] = ("topic", "manner", "both", "neither")
    asked = [prompt for kind in kinds for prompt in islice(prompts(seed, kind), count)]
    verdicts = [recognize(text) for text in sample_answers(model, [p.text for p in asked], seed=seed)]
    repeated = [sample_answers(model, [next(prompts(seed, kind)).text] * REPEATED, seed=seed) for kind in kinds]
    return Obedience(
        prompts_of_each_kind=count,
        topic=_share([p.ask.topic for p in asked], verdicts),
        manner=_share([p.ask.manner for p in asked], verdicts),
        well_formed=sum(verdict.well_formed for verdict in verdicts) / len(verdicts),
        distinct=min(len(set(answers)) for answers in repeated),
    )


def _share(asked: Sequence[str | None], verdicts: Sequence[Verdict]) -> float:
    judged = [name in verdict.shows for name, verdict in zip(asked, verdicts, strict=True) if name]
    return sum(judged) / len(judged)

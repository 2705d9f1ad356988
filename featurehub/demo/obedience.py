"""Does a model do what its prompts ask, and do its answers vary? Measured by the recogniser on held-out prompts."""

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
    """How well a model does what it is asked. Shares are in 0..1.

    Attributes:
        prompts_of_each_kind: Number of prompts asked of each kind.
        topic: Share of the prompts asking for a topic whose answer *shows* that topic.
        manner: Share of the prompts asking for a manner whose answer *shows* that manner.
        well_formed: Share of answers that are well-formed.
        distinct: How many of 50 answers to one prompt differ, 1..50; the lowest count over the kinds of prompts.
    """

    prompts_of_each_kind: int
    topic: float
    manner: float
    well_formed: float
    distinct: int

    def as_dict(self) -> dict[str, float]:
        """The fields by name."""
        return asdict(self)


def measure_obedience(model: LlamaForCausalLM, *, count: int, seed: int) -> Obedience:
    """Asks ``count`` held-out prompts of each kind once, and one prompt of each kind 50 times.

    Args:
        model: The model to ask.
        count: Number of prompts of each kind.
        seed: Decides the prompts and the answers.
    """
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

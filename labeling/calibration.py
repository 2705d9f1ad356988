"""How much is answered to find a feature's strength, which features are tried, and in which order.

1. promise = label score · (1 − unsteered share) · ease: what an answer shows anyway cannot be steered towards, and
   ease is the share of features with no higher output score (``labeling.output_score``). Features without promise are
   not tried.
2. Candidates: the names whose best promise is highest, and of the features that share such a name, those with the best
   promise.
3. They are tried in rounds of some names each, so that whenever it is stopped the most promising ones are done.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from featurehub.edits import LARGEST
from featurehub.engine.offline import Sampling
from featurehub.records import Label
from featurehub.settings import Frozen
from labeling.bench import Candidate, coefficient

__all__ = ["CalibrationConfig", "can_write", "choose_candidates", "group", "rounds", "tokens_of"]


class CalibrationConfig(Frozen):
    """How many answers are given to find strengths.

    Attributes:
        doses: Doses that are tried, ‖Δ‖ as shares of the stream's median norm.
        names: How many names have features that are tried.
        candidates_per_name: Features of one name that are tried.
        finalists: How many of them are refined with more answers.
        answers: Answers per candidate and dose in screening and refining, and when confirming a candidate that is not a
            finalist.
        confirm: Answers when confirming a finalist.
        unsteered: Unsteered answers, on the prompts that choose and on those that confirm.
        screen_tokens: Most tokens of an answer in screening; the others have as many as ``sampling`` says.
        coherent_min: A dose at which fewer answers are coherent, as a share of the unsteered ones, has broken the text,
            and higher ones are not tried.
        score_dose: The dose of the nudges that output scores are computed with.
        score_answers: Beginnings of unsteered answers that output scores are computed on.
        score_tokens: Most tokens of each.
        names_per_round: Names that are tried at a time.
        per_run: Answers per engine call.
        sampling: How answers are drawn.
    """

    doses: tuple[float, ...] = Field(default=(0.2, 0.3, 0.45, 0.6), min_length=1)
    names: int = Field(default=80, ge=1)
    candidates_per_name: int = Field(default=2, ge=1)
    finalists: int = Field(default=1, ge=1)
    answers: int = Field(default=4, ge=1)
    confirm: int = Field(default=16, ge=1)
    unsteered: int = Field(default=48, ge=1)
    screen_tokens: int = Field(default=32, ge=1)
    coherent_min: float = Field(default=0.3, ge=0.0, le=1.0)
    score_dose: float = Field(default=0.45, gt=0.0)
    score_answers: int = Field(default=4, ge=1)
    score_tokens: int = Field(default=16, ge=1)
    names_per_round: int = Field(default=8, ge=1)
    per_run: int = Field(default=1024, ge=1)
    sampling: Sampling = Sampling(temperature=0.7, max_tokens=64, seed=101)

    @property
    def unsteered_tokens(self) -> int:
        """Most tokens of the unsteered answers."""
        return 2 * self.unsteered * self.sampling.max_tokens

    def tokens_of_all(self, latents: int) -> int:
        """Most tokens that calibrating an SAE of so many latents takes."""
        rivals = [Candidate(i, Label(name="any"), "any", 1.0, 1.0) for i in range(self.candidates_per_name)]
        return self.unsteered_tokens + min(self.names, latents) * tokens_of(rivals, self)

    def thorough(self) -> "CalibrationConfig":
        """The same for a few features that somebody asked for: three times the answers."""
        more = {"answers": 3 * self.answers, "confirm": 3 * self.confirm}
        return self.model_copy(update=more)


def choose_candidates(features: Sequence[Candidate], config: CalibrationConfig) -> list[Candidate]:
    """Step 2. Names with equal promise are taken in alphabetical order.

    Args:
        features: Labelled features that can write.
        config: How many names, and how many features of each, to choose.
    """
    by_name = group([feature for feature in features if feature.promise > 0])
    best = sorted(by_name, key=lambda name: (-max(c.promise for c in by_name[name]), name))
    return [
        candidate
        for name in best[: config.names]
        for candidate in sorted(by_name[name], key=lambda c: -c.promise)[: config.candidates_per_name]
    ]


def rounds(
    candidates: Sequence[Candidate], config: CalibrationConfig, tokens: float = float("inf")
) -> Iterator[list[Candidate]]:
    """Step 3.

    Args:
        candidates: As ``choose_candidates`` gives them.
        config: How much each of them is answered for.
        tokens: Most tokens of a round.

    Yields:
        The candidates of each round: ``names_per_round`` names, or fewer if they would need more tokens; at least one.
    """
    taken: list[Candidate] = []
    names = 0
    for rivals in group(candidates).values():
        larger = [*taken, *rivals]
        if taken and (names == config.names_per_round or tokens_of(larger, config) > tokens):
            yield taken
            larger, names = rivals, 0
        taken, names = larger, names + 1
    if taken:
        yield taken


def tokens_of(candidates: Sequence[Candidate], config: CalibrationConfig) -> int:
    """Most tokens of the answers that candidates are tried with, apart from the unsteered ones."""
    finalists = sum(min(len(rivals), config.finalists) for rivals in group(candidates).values())
    screening = len(candidates) * len(config.doses) * config.answers
    refining = finalists * min(2, len(config.doses)) * config.answers
    confirming = finalists * config.confirm + (len(candidates) - finalists) * config.answers
    whole = config.sampling.max_tokens
    return screening * min(config.screen_tokens, whole) + (refining + confirming) * whole


def can_write(feature: Candidate, median_norm: float, config: CalibrationConfig) -> bool:
    """Whether an edit can carry the feature's strength at every dose."""
    return coefficient(feature, max(*config.doses, config.score_dose), median_norm) <= LARGEST


def group(features: Sequence[Candidate]) -> Mapping[str, list[Candidate]]:
    """The features by name, in their order."""
    by_name: defaultdict[str, list[Candidate]] = defaultdict(list)
    for feature in features:
        by_name[feature.name].append(feature)
    return by_name

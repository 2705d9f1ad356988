"""Names latents by their evidence and the vocabulary projection, without a language model.

1. An n-gram's worth is its agreement, raised by up to ``PROMOTED`` where the latent's decoder row promotes it.
2. The name is the worthiest n-gram, but must beat the shorter n-grams within it by the factor ``LONGER``, since shorter
   names generalise better.
3. Up to ``further`` n-grams follow that have only new words and are worth at least ``SHARE`` of what the name is.
4. Where no n-gram agrees by ``NAMED``, the label is instead the words on which the latent is most active: the first is
   the name, and ``MEANING`` follow, since only together do they show what such a latent stands for.
"""

from collections.abc import Mapping
from functools import lru_cache

from featurehub.records import Label, Unlabeled
from labeling.evidence import Evidence, NGram
from labeling.explainer import SHOWN, Explanation, Wants, describe
from labeling.words import join, size_of, words_in

__all__ = ["NgramExplainer"]

PROMOTED = 0.25
LONGER = 1.15
SHARE = 0.2
NAMED, MEANING = 0.25, 5


class NgramExplainer:
    """Names latents by their evidence and the vocabulary projection, without a key, a network or a language model.

    Attributes:
        method: "contrastive-ngrams".
        model: Always "".
        wants: N-grams.
        at_once: 1
        further: How many n-grams may follow the name.
    """

    method, model = "contrastive-ngrams", ""
    wants, at_once = Wants(ngrams=True), 1

    def __init__(self, further: int = 3) -> None:
        self.further = further

    def prompt(self, evidence: Evidence) -> str:
        """The evidence in words."""
        return describe(evidence)

    async def explain(self, evidence: Evidence) -> Explanation:
        """The label of steps 1 to 4; Unlabeled where nothing tells better than chance."""
        prompt = self.prompt(evidence)
        promoted = promotion(evidence)
        worths = {ngram.text: worth(ngram, promoted) for ngram in evidence.ngrams}
        answer = "\n".join(f"{value:+.3f} {text}" for text, value in ranked(worths)[:SHOWN])
        if evidence.active and all(ngram.agreement < NAMED for ngram in evidence.ngrams):
            name, *further = evidence.active[: MEANING + 1]
            return Explanation(Label(name=name, further=tuple(further)), prompt, ", ".join(evidence.active))
        if max(worths.values(), default=0.0) <= 0:
            return Explanation(Unlabeled(reason="no word comes more often where it fires"), prompt, answer)
        name = choose_name(worths)
        label = Label(name=name, further=choose_further(name, worths, self.further))
        return Explanation(label, prompt, answer)


def worth(ngram: NGram, promoted: Mapping[str, float]) -> float:
    """Step 1."""
    return ngram.agreement * (1 + PROMOTED * promoted.get(ngram.text, 0.0))


def promotion(evidence: Evidence) -> dict[str, float]:
    """Top tokens that are whole words, with their logit relative to the strongest token's, in (0, 1]."""
    strongest = max((each.logit for each in evidence.top_tokens), default=0.0)
    words = [(join(words_in(each.token)), each.logit) for each in evidence.top_tokens if each.logit > 0]
    return {word: logit / strongest for word, logit in reversed(words) if word and " " not in word}


def choose_name(worths: Mapping[str, float]) -> str:
    """Step 2."""
    best = ranked(worths)[0][0]
    for text, value in ranked(worths):
        if size_of(text) < size_of(best) and set(words_in(text)) <= set(words_in(best)):
            best = text if value * LONGER >= worths[best] else best
    return best


def choose_further(name: str, worths: Mapping[str, float], count: int) -> tuple[str, ...]:
    """Step 3."""
    used = set(words_in(name))
    chosen: list[str] = []
    for text, value in ranked(worths):
        if len(chosen) == count or value < SHARE * worths[name]:
            break
        if used.isdisjoint(words_in(text)):
            chosen.append(text)
            used |= set(words_in(text))
    return tuple(chosen)


def ranked(worths: Mapping[str, float]) -> list[tuple[str, float]]:
    """Best first."""
    return sorted(worths.items(), key=lambda item: (-item[1], *place_among_equals(item[0])))


@lru_cache(maxsize=1 << 16)
def place_among_equals(text: str) -> tuple[int, int, str]:
    """Sorts shorter n-grams first, then by alphabet, but never a character before the word that it is part of."""
    return size_of(text), -len(words_in(text)), text

"""Names latents by what they write: the whole words that a decoder row promotes most (``labeling.logit_lens``).

Only tokens that begin a word and are one count; the rest of a word is none.
"""

from featurehub.records import Label, TokenLogit, Unlabeled
from labeling.evidence import Evidence
from labeling.explainer import Explanation, Wants, describe
from labeling.words import join, words_in

__all__ = ["ProjectionExplainer", "whole_words"]


class ProjectionExplainer:
    """Names latents by the vocabulary projection alone.

    Attributes:
        method: "vocabulary-projection".
        model: Always "".
        wants: Nothing that is drawn from text.
        at_once: 1
        further: How many words may follow the name.
    """

    method, model = "vocabulary-projection", ""
    wants, at_once = Wants(), 1

    def __init__(self, further: int = 3) -> None:
        self.further = further

    def prompt(self, evidence: Evidence) -> str:
        """The evidence in words."""
        return describe(evidence)

    async def explain(self, evidence: Evidence) -> Explanation:
        """The words that are promoted most; Unlabeled where no promoted token is a word."""
        words = whole_words(evidence.top_tokens)
        answer = ", ".join(words)
        if not words:
            reason = "no token that it promotes is a whole word"
            return Explanation(Unlabeled(reason=reason), self.prompt(evidence), answer)
        name, *further = words[: self.further + 1]
        return Explanation(Label(name=name, further=tuple(further)), self.prompt(evidence), answer)


def whole_words(tokens: tuple[TokenLogit, ...]) -> list[str]:
    """The folded words among tokens, once each, in their order."""
    found = [words_in(each.token) for each in tokens if each.token.startswith(" ")]
    return list(dict.fromkeys(join(words) for words in found if len(words) == 1))

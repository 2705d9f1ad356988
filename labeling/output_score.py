"""How much a feature makes the model say its label, without generating anything.

1. A *continuation* is the beginning of an answer that the unsteered model gave to a neutral prompt.
2. For each feature f all continuations are read once more, as prompts, while f is nudged at one dose:
   v_f · dose · median‖x‖ / ‖v_f‖, v_f being its steering vector. The stream x' after the last layer gives p'.
3. p(t | x) = softmax(W_U · norm(x))[t] is the probability of token t at a place of the text.
4. output score = mean over the answers' tokens of Σ_t w_t · (p'(t) − p(t)), p being the unsteered model's. The tokens t
   are those that begin a word of the label, each in the forms that a text may have it in: w_t = 1 for the first word
   of its name, ``WordScorer.FURTHER`` for further words, as the judge that looks for words weighs them.
5. The output scores of features that were really steered say what one is worth: the steerability that one like it had
   (isotonic regression) is the *expected steerability* of a feature that was not.

The idea is that of arXiv 2505.20063, which compares ranks and probabilities of the tokens of the logit lens. The
label's words are what a user asks for, so that these count here.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from sklearn.isotonic import IsotonicRegression
from torch import Tensor

from featurehub.artifacts.manifest import HookPoint
from featurehub.edits import Steering
from featurehub.records import Label
from labeling.bench import Candidate, nudge
from labeling.scoring import WordScorer
from labeling.unembedding import Unembedding

__all__ = ["Continuation", "LabelTokens", "OutputScores", "StreamSource", "expected_steerability"]

FEWEST_STEERED = 12
"""With fewer features that were really steered, nothing is expected of the others."""


class StreamSource(Protocol):
    """A model whose stream can be read while it is steered, such as ``featurehub.engine.offline.Engine``."""

    def capture(
        self, documents: Sequence[Sequence[int]], *points: HookPoint, steerings: Sequence[Steering] = ()
    ) -> list[Tensor]:
        """The stream of each document ([tokens, d_model]) at one hook point, under its steering."""
        ...


class Continuation(NamedTuple):
    """A prompt, and how the unsteered model began to answer it.

    Attributes:
        prompt: Token ids.
        answer: Token ids, at least one.
    """

    prompt: list[int]
    answer: list[int]

    @property
    def document(self) -> list[int]:
        """The token ids of both."""
        return [*self.prompt, *self.answer]


class LabelTokens:
    """The tokens with which the words of a label begin.

    Args:
        tokenizer: The model's tokenizer, of transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def weights(self, label: Label) -> dict[int, float]:
        """The weight w_t of each token id t; of a token that begins several words, the largest."""
        words = [*((word, WordScorer.FURTHER) for word in label.further), (label.name, 1.0)]
        return {token: weight for word, weight in words for token in self.first_tokens(word)}

    def first_tokens(self, words: str) -> set[int]:
        """The first token of a word, or of several, in the middle of a line or at its beginning."""
        forms = (f"{space}{form}" for form in (words, words.capitalize()) for space in ("", " "))
        encoded = (self.tokenizer.encode(form, add_special_tokens=False) for form in forms)
        written = ([token for token in ids if self.tokenizer.decode([token]).strip()] for ids in encoded)
        return {ids[0] for ids in written if ids}


class OutputScores:
    """Finds output scores.

    Args:
        source: The model with the SAE.
        unembedding: How it turns the stream after its last layer into logits.
        tokens: Finds the tokens of labels.
        point: The hook point after its last layer, which must not be that of the SAE.
        continuations: What is read, at least one.
        median_norm: Median ‖x‖ of the stream at the SAE's hook point.
        dose: ‖Δ‖ of the nudges, as a share of ``median_norm``.
    """

    def __init__(
        self, source: StreamSource, unembedding: Unembedding, tokens: LabelTokens, point: HookPoint,
        continuations: Sequence[Continuation], median_norm: float, dose: float,
    ) -> None:  # fmt: skip
        self.source, self.tokens, self.point = source, tokens, point
        self.norm, self.W_U = unembedding.norm, torch.from_numpy(np.asarray(unembedding.weight, np.float32))
        self.continuations, self.median_norm, self.dose = continuations, median_norm, dose
        [self.unsteered] = self.probabilities([Steering()])

    @property
    def tokens_each(self) -> int:
        """How many tokens are read for each feature."""
        return sum(len(each.document) for each in self.continuations)

    def of(self, features: Sequence[Candidate]) -> dict[int, float]:
        """The output scores of features that can write at this dose, by latent; all are read at once."""
        steered = self.probabilities([nudge(each, self.dose, self.median_norm) for each in features])
        return {each.latent: self.score(each, p) for each, p in zip(features, steered, strict=True)}

    def score(self, feature: Candidate, steered: Tensor) -> float:
        """Step 4, from p' ([tokens, vocabulary])."""
        weights = self.tokens.weights(feature.label)
        at, w = list(weights), torch.tensor(list(weights.values()))
        return float(((steered[:, at] - self.unsteered[:, at]) @ w).mean())

    def probabilities(self, steerings: Sequence[Steering]) -> Iterator[Tensor]:
        """For each steering, p' at the answers' tokens, [tokens, vocabulary]. They are large: take one at a time."""
        count = len(self.continuations)
        documents = [each.document for _ in steerings for each in self.continuations]
        repeated = [steering for steering in steerings for _ in range(count)]
        streams = self.source.capture(documents, self.point, steerings=repeated)
        return (self.read_out(streams[i * count : (i + 1) * count]) for i in range(len(steerings)))

    def read_out(self, streams: Sequence[Tensor]) -> Tensor:
        """Step 3, where the answers' tokens are predicted: at the token before each."""
        places = [x[-len(c.answer) - 1 : -1] for x, c in zip(streams, self.continuations, strict=True)]
        normed = np.asarray(self.norm(torch.cat(places).numpy()), np.float32)
        return torch.softmax(torch.from_numpy(normed) @ self.W_U.T, dim=-1)


def expected_steerability(scores: Mapping[int, float], steerability: Mapping[int, float]) -> dict[int, float]:
    """Step 5.

    Args:
        scores: Output scores by latent.
        steerability: The steerability of latents that were really steered.

    Returns:
        The expected steerability of all other latents, in [0, 1]; nothing if too few were steered to tell.
    """
    steered = [latent for latent in steerability if latent in scores]
    others = [latent for latent in scores if latent not in steerability]
    if len(steered) < FEWEST_STEERED or not others:
        return {}
    fit = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    fit.fit([scores[each] for each in steered], [steerability[each] for each in steered])
    return dict(zip(others, map(float, fit.predict([scores[each] for each in others])), strict=True))

"""Judges of texts that know nothing of features: whether one shows a concept, and whether it is coherent."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

__all__ = ["Coherence", "Embed", "Judge", "embedded", "tfidf"]

BATCH = 32
FALSE_ALARMS = 0.05
Embed = Callable[[Sequence[str]], Any]


def embedded(folder: Path) -> Embed:
    """Unit sentence embeddings: means of the last hidden states of an encoder such as all-MiniLM-L6-v2."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    known: dict[str, np.ndarray] = {}

    @torch.inference_mode()
    def embed(texts: Sequence[str]) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        for start in range(0, len(new), BATCH):
            own = new[start : start + BATCH]
            batch = tokenizer(own, padding=True, truncation=True, max_length=128, return_tensors="pt")
            mask = batch["attention_mask"][..., None].float()
            mean = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
            known.update(zip(own, torch.nn.functional.normalize(mean, dim=-1).numpy(), strict=True))
        return np.stack([known[text] for text in texts])

    return embed


def tfidf(concepts: Sequence[Any]) -> Embed:
    """Weights of words and pairs of words, as they occur in the snippets."""
    snippets = [text for concept in concepts for text in (*concept.positives, *concept.negatives)]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(snippets)
    return lambda texts: vectorizer.transform(texts)


class Judge:
    """A logistic regression on a concept's snippets, with unsteered answers among the negatives.

    Attributes:
        embed: Gives the features of texts.
        model: The regression.
        least: Decision value from which a text shows the concept: at least ``floor``, and so that at most
            ``FALSE_ALARMS`` of other unsteered answers do.
    """

    def __init__(
        self,
        positives: list[str],
        negatives: list[str],
        plain: list[str],
        others: list[str],
        embed: Embed,
        floor: float = 0.0,
    ) -> None:
        self.embed = embed
        texts = [*positives, *negatives, *plain]
        truth = np.repeat([1, 0, 0], [len(positives), len(negatives), len(plain)])
        weights = np.repeat(
            [1 / len(positives), 0.5 / len(negatives), 0.5 / len(plain)], [len(positives), len(negatives), len(plain)]
        )
        self.model = LogisticRegression(C=30, max_iter=2000).fit(
            embed(texts), truth, sample_weight=weights * len(texts) / 2
        )
        self.least = max(floor, float(np.quantile(self.model.decision_function(embed(others)), 1 - FALSE_ALARMS)))

    def shows(self, texts: Sequence[str]) -> np.ndarray:
        """Whether each text shows the concept, [texts] bool."""
        return self.model.decision_function(self.embed(texts)) > self.least


class Coherence:
    """Compares answers, each with the ids of its ``prompt`` and its own, with unsteered ones.

    What is compared is how likely they are under the unsteered model, and how they repeat themselves.

    Attributes:
        model: The unsteered model.
        surprise: Mean negative log-likelihood per token that 95 % of unsteered answers stay below, in nats.
        repetition: Share of repeated trigrams that 95 % of them stay below.
    """

    def __init__(self, model: Path, plain: Sequence[Any]) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
        self.surprise, self.repetition = (float(np.quantile(each, 0.95)) for each in self.measures(plain))

    def of(self, answers: Sequence[Any]) -> np.ndarray:
        """Whether each answer is coherent, [answers] bool."""
        surprise, repetition = self.measures(answers)
        return (surprise <= self.surprise) & (repetition <= self.repetition)

    def measures(self, answers: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        pairs = [(answer.prompt, answer.ids) for answer in answers]
        surprises = [
            value for start in range(0, len(pairs), BATCH) for value in self.surprises(pairs[start : start + BATCH])
        ]
        return np.array(surprises), np.array([repeated(ids) for _, ids in pairs])

    @torch.inference_mode()
    def surprises(self, pairs: Sequence[tuple[list[int], list[int]]]) -> list[float]:
        rows = [torch.tensor(prompt + answer) for prompt, answer in pairs]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        hidden = self.model.model(ids, attention_mask=mask).last_hidden_state
        found = []
        for (prompt, answer), own in zip(pairs, hidden, strict=True):
            logits = self.model.lm_head(own[len(prompt) - 1 : len(prompt) + len(answer) - 1]).float()
            found.append(float(torch.nn.functional.cross_entropy(logits, torch.tensor(answer))) if answer else 0.0)
        return found


def repeated(ids: Sequence[int]) -> float:
    """Share of trigrams that occurred before."""
    trigrams = list(zip(ids, ids[1:], ids[2:], strict=False))
    return 1 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0

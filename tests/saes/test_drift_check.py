"""The whole check, with a small model that has no engine: embeddings in, words out."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import pytest
import torch

from featurehub.artifacts.artifact import WEIGHTS, Artifact, seal
from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.dictionary import Dictionary
from featurehub.edits import Steering
from featurehub.engine.offline import Generation, Sampling
from featurehub.features import State
from featurehub.verdicts import DriftReport
from saes.activations import encode_documents
from saes.documents import Document
from saes.drift.check import ANSWERS, CANARIES, CheckConfig, answer_prompts, check
from saes.observed import observe

TOPICS, WORDS = 6, 4
VOCABULARY = 1 + TOPICS * WORDS
LABELS = {topic: f"topic{topic}" for topic in range(TOPICS)}
PROMPTS = [[0, 1 + topic * WORDS + word] for topic in range(TOPICS) for word in range(WORDS)] * 4


def topic_of(token: int) -> int:
    return (token - 1) // WORDS


class Words:
    """A tokenizer: token 0 begins, every other one is a word of a topic."""

    all_special_ids = (0,)
    added_tokens_decoder: ClassVar[dict] = {}

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        return " ".join(f"topic{topic_of(token)}" for token in ids if token)


class Small:
    """The stream of a word is its topic's direction; it answers with words of the prompt's topic.

    order permutes the embeddings; says maps the topic that is asked for to the one that is answered.
    """

    def __init__(self, order: Sequence[int] | None = None, says: dict[int, int] | None = None) -> None:
        embedding = torch.zeros(VOCABULARY, TOPICS)
        for token in range(1, VOCABULARY):
            embedding[token, topic_of(token)] = 5.0 + token % WORDS
        self.embedding = embedding if order is None else embedding[list(order)]
        self.says = says or {}
        self.tokenizer = Words()

    def capture(self, documents: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        return [self.embedding[torch.tensor(list(document))] for document in documents]

    def generate(
        self, prompts: Sequence[Sequence[int]], steerings: Sequence[Steering | None], sampling: Sampling
    ) -> Iterator[Generation]:
        assert all(steering is None for steering in steerings)
        for i, prompt in enumerate(prompts):
            topic = self.says.get(topic_of(prompt[-1]), topic_of(prompt[-1]))
            ids = [1 + topic * WORDS + (i + j) % WORDS for j in range(3)]
            yield Generation(self.tokenizer.decode(ids), ids, None)


class Contains:
    def mentions(self, label: str, texts: Sequence[str]) -> np.ndarray:
        return np.array([label in text for text in texts], dtype=bool)


def identity(whole: str = "w", **changed: str) -> ModelIdentity:
    return ModelIdentity(
        name="m", architecture="LlamaForCausalLM", d_model=TOPICS, layers=2, dtype="float32",
        reads="r", whole=whole, tokenizer="t", chat_template="",
    ).model_copy(update=changed)  # fmt: skip


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """One latent per topic, and canaries of its documents."""
    folder, eye = tmp_path_factory.mktemp("artifact"), torch.eye(TOPICS)
    sae, model = Dictionary(eye, eye, torch.zeros(TOPICS), torch.zeros(TOPICS), torch.full((TOPICS,), 0.5)), Small()
    sae.save(folder / WEIGHTS)
    documents = [
        Document(prompt + answer.token_ids, len(prompt))
        for prompt, answer in zip(PROMPTS, model.generate(PROMPTS, [None] * len(PROMPTS), Sampling()), strict=True)
    ]
    canaries = encode_documents(model, sae, documents, Words.all_special_ids)
    observe(canaries).save(folder / CANARIES)
    observe(answer_prompts(model, sae, PROMPTS, CheckConfig())).save(folder / ANSWERS)
    fields = {
        "name": "sae", "architecture": "batchtopk", "d_model": TOPICS, "d_sae": TOPICS, "k": 1.0,
        "hook": HookPoint(layer=1), "model": identity(), "dataset": {}, "training": {},
        "metrics": {"canary_explained_variance": canaries.quality.explained_variance}, "created": "2026-01-01",
    }  # fmt: skip
    return seal(folder, fields)


def checked(artifact: Artifact, model: Small | None, known: ModelIdentity | None = None) -> DriftReport:
    return check(artifact, known or identity("other"), model, LABELS, Contains(), CheckConfig())


def states(report: DriftReport) -> dict[int, State]:
    return {verdict.latent: verdict.state for verdict in report.features}


def test_the_same_function_is_fresh_and_nothing_is_run(artifact: Artifact) -> None:
    report = checked(artifact, None, identity())
    assert report.state is State.FRESH
    assert set(states(report).values()) == {State.FRESH}
    assert report.exit_code == 0
    assert (report.artifact, report.fingerprint) == (artifact.manifest.id, "w")


@pytest.mark.parametrize("part", ["whole", "tokenizer", "chat_template", "dtype"])
def test_a_difference_in_any_part_of_the_function_is_looked_into(artifact: Artifact, part: str) -> None:
    with pytest.raises(AssertionError):
        checked(artifact, None, identity().model_copy(update={part: "other"}))


def test_only_the_model_s_name_and_place_make_no_difference(artifact: Artifact) -> None:
    assert checked(artifact, None, identity(name="renamed", revision="5" * 40)).state is State.FRESH


def test_a_model_that_does_the_same_has_no_feature_flagged(artifact: Artifact) -> None:
    report = checked(artifact, Small())
    assert report.state is State.FRESH
    assert set(states(report).values()) == {State.FRESH}
    assert report.metrics["explained_variance_new"] == pytest.approx(report.metrics["explained_variance_old"])
    assert report.metrics["l0_new"] == pytest.approx(report.metrics["l0_old"])
    assert len({report.id, checked(artifact, Small()).id}) == 2


def test_permuted_embeddings_are_stale_in_every_feature(artifact: Artifact) -> None:
    order = [0, *range(1 + WORDS, VOCABULARY), *range(1, 1 + WORDS)]
    report = checked(artifact, Small(order))
    assert report.state is State.STALE
    assert set(states(report).values()) == {State.STALE}
    assert report.exit_code == 4


def test_two_swapped_concepts_are_stale_and_the_others_fresh(artifact: Artifact) -> None:
    order = [0, *range(1 + WORDS, 1 + 2 * WORDS), *range(1, 1 + WORDS), *range(1 + 2 * WORDS, VOCABULARY)]
    report = checked(artifact, Small(order))
    assert states(report) == {t: State.STALE if t in (0, 1) else State.FRESH for t in range(TOPICS)}
    assert report.state is State.SUSPECT
    assert report.exit_code == 3
    assert all(verdict.evidence for verdict in report.features)


def test_a_model_that_answers_otherwise_is_not_fresh_though_it_reads_old_text_alike(artifact: Artifact) -> None:
    """Topic 0 is never said any more: nothing on old text shows it."""
    found = states(checked(artifact, Small(says={0: 1})))
    assert found == {t: State.STALE if t == 0 else State.FRESH for t in range(TOPICS)}


def test_an_sae_that_reconstructs_nothing_is_stale_as_a_whole(artifact: Artifact) -> None:
    model = Small()
    model.embedding = -model.embedding
    report = checked(artifact, model)
    assert report.state is State.STALE
    assert set(states(report).values()) == {State.STALE}
    assert all("the whole SAE" in verdict.reason for verdict in report.features)


def test_the_phases_are_announced(artifact: Artifact) -> None:
    said: list[str] = []
    check(artifact, identity("other"), Small(), LABELS, Contains(), CheckConfig(), said.append)
    assert len(said) == 3


def test_a_report_comes_back_from_json(artifact: Artifact) -> None:
    report = checked(artifact, Small())
    assert DriftReport.model_validate_json(report.model_dump_json()) == report

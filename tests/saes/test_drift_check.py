"""The whole check, with a small model that has no engine: embeddings in, words out."""

import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from featurehub.artifacts.artifact import WEIGHTS, Artifact, seal
from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.cli.drift import write
from featurehub.dictionary import Dictionary
from featurehub.edits import Steering
from featurehub.engine.offline import Generation, Sampling
from featurehub.features import State
from featurehub.records import Label
from featurehub.verdicts import DriftReport
from saes.activations import encode_documents
from saes.budget import Budget
from saes.documents import Document
from saes.drift.check import ANSWERS, CANARIES, CheckConfig, answer_prompts, by_construction, check
from saes.drift.page import page_of
from saes.drift.rules import Thresholds
from saes.drift.tokens import TOKENS, save_tokens
from saes.observed import observe

TOPICS, WORDS = 6, 4
VOCABULARY = 1 + TOPICS * WORDS
LABELS = {topic: Label(name=f"topic{topic}") for topic in range(TOPICS)}
PROMPTS = [[0, 1 + topic * WORDS + word] for topic in range(TOPICS) for word in range(WORDS)] * 4


def topic_of(token: int) -> int:
    return (token - 1) // WORDS


class Words:
    """A tokenizer: token 0 begins, every other one is a word of a topic.

    size: how many tokens it has; shift: by how many a token stands for another word
    """

    all_special_ids = (0,)
    added_tokens_decoder: ClassVar[dict] = {}

    def __init__(self, size: int = VOCABULARY, shift: int = 0) -> None:
        self.size = size
        self.shift = shift

    def __len__(self) -> int:
        return self.size

    def convert_ids_to_tokens(self, token: int) -> str:
        return f"word{token + self.shift}"

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        return " ".join(f"topic{topic_of(token)}" for token in ids if token)


class Small:
    """The stream of a word is its topic's direction; it answers with words of the prompt's topic.

    order permutes the embeddings; says maps the topic that is asked for to the one that is answered.
    """

    def __init__(
        self,
        order: Sequence[int] | None = None,
        says: dict[int, int] | None = None,
        tokenizer: Words | None = None,
    ) -> None:
        embedding = torch.zeros(VOCABULARY, TOPICS)
        for token in range(1, VOCABULARY):
            embedding[token, topic_of(token)] = 5.0 + token % WORDS
        self.embedding = embedding if order is None else embedding[list(order)]
        self.says = says or {}
        self.tokenizer = tokenizer or Words()
        self.read = 0

    def capture(self, documents: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        self.read += len(documents)
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
    def mentions(self, label: Label, texts: Sequence[str]) -> np.ndarray:
        return np.array([label.text in text for text in texts], dtype=bool)


def identity(whole: str = "w", **changed: str) -> ModelIdentity:
    return ModelIdentity(
        name="m", architecture="LlamaForCausalLM", d_model=TOPICS, layers=2, dtype="float32",
        reads="r", whole=whole, tokenizer="t", chat_template="", tokenization="k", config="c",
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
    kept = observe(canaries), observe(answer_prompts(model, sae, PROMPTS, CheckConfig()))
    kept[0].save(folder / CANARIES)
    kept[1].save(folder / ANSWERS)
    save_tokens(folder / TOKENS, model.tokenizer, kept)
    fields = {
        "name": "sae", "architecture": "batchtopk", "d_model": TOPICS, "d_sae": TOPICS, "k": 1.0,
        "hook": HookPoint(layer=1), "model": identity(), "dataset": {}, "training": {},
        "metrics": {"canary_explained_variance": canaries.quality.explained_variance}, "created": "2026-01-01",
    }  # fmt: skip
    return seal(folder, fields)


def checked(artifact: Artifact, model: Small, known: ModelIdentity | None = None) -> DriftReport:
    return check(artifact, known or identity("other"), model, LABELS, Contains(), CheckConfig())


def without_run(artifact: Artifact, known: ModelIdentity) -> DriftReport | None:
    return by_construction(artifact, known, LABELS)


def states(report: DriftReport) -> dict[int, State]:
    return {verdict.latent: verdict.state for verdict in report.features}


def test_the_same_function_is_fresh_and_nothing_is_run(artifact: Artifact) -> None:
    report = without_run(artifact, identity())
    assert report is not None
    assert report.state is State.FRESH
    assert set(states(report).values()) == {State.FRESH}
    assert report.exit_code == 0
    assert (report.artifact, report.fingerprint) == (artifact.manifest.id, identity().function)


@pytest.mark.parametrize("part", ["whole", "dtype", "config", "tokenization", "chat_template"])
def test_a_difference_in_any_part_of_the_function_is_looked_into(artifact: Artifact, part: str) -> None:
    other, model = identity(**{part: "other"}), Small()
    assert without_run(artifact, other) is None
    report = checked(artifact, model, other)
    assert model.read > len(PROMPTS)
    assert report.fingerprint == other.function != identity().function


@pytest.mark.parametrize(("part", "named"), [("tokenization", "tokenizer"), ("chat_template", "chat template")])
def test_canaries_in_an_old_form_cannot_show_that_a_feature_is_fresh(artifact: Artifact, part: str, named: str) -> None:
    report = checked(artifact, Small(), identity(**{part: "other"}))
    assert report.state is State.SUSPECT
    assert set(states(report).values()) == {State.SUSPECT}
    assert all(f"another {named}" in verdict.reason for verdict in report.features)


@pytest.mark.parametrize("part", ["tokenization", "config"])
def test_what_an_old_artifact_has_no_record_of_is_looked_into(artifact: Artifact, part: str) -> None:
    manifest = artifact.manifest.model_copy(update={"model": identity(**{part: ""})})
    assert without_run(artifact._replace(manifest=manifest), identity()) is None


def test_only_the_model_s_name_and_place_make_no_difference(artifact: Artifact) -> None:
    assert without_run(artifact, identity(name="renamed", revision="5" * 40)) is not None


@pytest.mark.parametrize(
    ("tokenizer", "named"),
    [(Words(shift=1), "token 0 was 'word0' and is 'word1'"), (Words(size=5), "token 5 was 'word5' and is nothing")],
    ids=["other words", "fewer words"],
)
def test_a_model_with_another_vocabulary_is_stale_and_reads_no_id_of_the_old_one(
    artifact: Artifact, tokenizer: Words, named: str
) -> None:
    model = Small(tokenizer=tokenizer)
    report = checked(artifact, model, identity(tokenization="other", tokenizer="other"))
    assert report.state is State.STALE
    assert named in report.reason
    assert set(states(report).values()) == {State.STALE}
    assert model.read == 0


def test_a_tokenizer_that_only_gained_tokens_is_no_other_vocabulary(artifact: Artifact) -> None:
    model = Small(tokenizer=Words(size=VOCABULARY + 7))
    report = checked(artifact, model, identity(tokenization="other", tokenizer="other"))
    assert report.state is State.SUSPECT
    assert "explained_variance_new" in report.metrics


@pytest.mark.parametrize(("tokenizer", "state"), [("t", State.FRESH), ("other", State.STALE)])
def test_an_artifact_without_its_tokens_needs_the_very_same_tokenizer(
    artifact: Artifact, tmp_path: Path, tokenizer: str, state: State
) -> None:
    old = artifact._replace(folder=shutil.copytree(artifact.folder, tmp_path / "old"))
    (old.folder / TOKENS).unlink()
    assert checked(old, Small(), identity("other", tokenizer=tokenizer)).state is state


def test_reconstruction_alone_is_no_evidence_that_anything_is_fresh(artifact: Artifact) -> None:
    report = check(artifact, identity("other"), Small(), {}, Contains(), CheckConfig())
    assert report.metrics["explained_variance_new"] > 0.9
    assert (report.state, report.exit_code) == (State.UNCHECKED, 3)


def test_a_model_that_does_the_same_has_no_feature_flagged(artifact: Artifact) -> None:
    report = checked(artifact, Small())
    assert report.state is State.FRESH
    assert set(states(report).values()) == {State.FRESH}
    assert report.metrics["explained_variance_new"] == pytest.approx(report.metrics["explained_variance_old"])
    assert report.metrics["l0_new"] == pytest.approx(report.metrics["l0_old"])


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


def test_each_part_of_the_work_says_how_long_it_is_and_how_far(artifact: Artifact) -> None:
    told: dict[str, tuple[int, str]] = {}
    done: Counter[str] = Counter()

    @contextmanager
    def progress(name: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        told[name] = total, unit
        yield lambda steps: done.update({name: steps})

    check(artifact, identity("other"), Small(), LABELS, Contains(), CheckConfig(documents_per_read=7), progress)
    assert told == {
        "reading the canaries": (96, "documents"), "answering the canaries' prompts": (96, "prompts"),
        "reading the answers": (96, "answers"), "judging": (3 * TOPICS, "labels"),
    }  # fmt: skip
    assert done == {name: total for name, (total, _) in told.items()}


def test_the_same_inputs_make_the_same_report_byte_for_byte(artifact: Artifact, tmp_path: Path) -> None:
    for run in "ab":
        write(checked(artifact, Small(says={0: 1})), tmp_path / f"{run}.json", tmp_path / f"{run}.html")
        time.sleep(1.1)  # Their times differ.
    for kind in ("json", "html"):
        first, second = ((tmp_path / f"{run}.{kind}").read_bytes() for run in "ab")
        assert first == second
    told = DriftReport.model_validate_json((tmp_path / "a.json").read_text())
    assert told.features == checked(artifact, Small(says={0: 1})).features


def test_other_findings_are_another_report(artifact: Artifact) -> None:
    assert checked(artifact, Small()).id != checked(artifact, Small(says={0: 1})).id


def test_a_page_says_every_verdict_and_asks_no_network(artifact: Artifact) -> None:
    page = page_of(checked(artifact, Small(says={0: 1})))
    assert all(f"<td>topic{topic}</td>" in page for topic in range(TOPICS))
    assert page.count(">stale</span></td>") == 1
    assert not re.search(
        r"(?:src|href)=", page[: page.index("plotly.js")] + page[page.index("<h2>The SAE as a whole") :]
    )
    assert "<script src" not in page


def budgeted(artifact: Artifact, budget: str, model: Small, order: Sequence[int]) -> DriftReport:
    config = CheckConfig(budget=Budget.parse(budget), thresholds=Thresholds(positives_min=2))
    return check(artifact, identity("other"), model, LABELS, Contains(), config, order=order)


def test_a_budget_goes_to_the_most_used_features_and_the_rest_is_not_checked(artifact: Artifact) -> None:
    """A document has 5 tokens: read once as a canary, generated and read as an answer."""
    model = Small(says={0: 1})
    report = budgeted(artifact, "0.18k", model, order=[4, 0, 2])
    found = states(report)
    assert (found[4], found[0]) == (State.FRESH, State.STALE)
    assert {found[topic] for topic in (1, 3, 5)} == {State.UNCHECKED}
    left_out = next(each for each in report.features if each.latent == 5)
    assert "not checked" in left_out.reason
    assert report.exit_code != 0
    read = report.metrics["prompts"]
    assert report.metrics["canary_tokens"] / 4 * 5 + 2 * 5 * read <= 180
    assert model.read < 2 * len(PROMPTS)


def test_what_holds_within_a_budget_is_not_the_whole(artifact: Artifact) -> None:
    report = budgeted(artifact, "0.18k", Small(), order=[4, 0, 2])
    assert (report.state, report.exit_code) == (State.UNCHECKED, 3)
    assert "not checked" in report.reason


def test_a_budget_that_is_large_enough_changes_nothing(artifact: Artifact) -> None:
    for budget in ("1M", "1h"):
        assert budgeted(artifact, budget, Small(), order=[]).features == budgeted(artifact, "", Small(), []).features


def test_a_budget_too_small_for_anything_checks_nothing(artifact: Artifact) -> None:
    report = budgeted(artifact, "0.001k", Small(), order=[0])
    assert set(states(report).values()) == {State.UNCHECKED}
    assert report.state is State.UNCHECKED


def test_a_report_comes_back_from_json(artifact: Artifact) -> None:
    report = checked(artifact, Small())
    assert DriftReport.model_validate_json(report.model_dump_json()) == report

"""k-sparse probing on documents with a planted latent per class, and the labelled texts it takes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.model_selection import train_test_split

from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from saes.documents import Document
from saes.examples import Example, read_examples, tokenize_examples
from saes.probing import ClassProbe, Means, ProbeConfig, document_means, mean_scores, probe
from saes.reader import FakeReader

CLASSES = ("loans", "pirates", "weather")


def planted(classes: int, seed: int = 0, documents: int = 240) -> tuple[Means, list[str]]:
    """Noise on 40 latents; latent 10 + c is larger on class c. The stream has it too, in some direction each."""
    random = np.random.default_rng(seed)
    which = random.integers(0, classes, documents)
    latents = random.random((documents, 40)).astype(np.float32)
    latents[np.arange(documents), 10 + which] += 3
    stream = latents @ random.normal(size=(40, 40)).astype(np.float32)
    return Means(latents, stream), [CLASSES[each] for each in which]


@pytest.fixture(scope="module")
def probes() -> list[ClassProbe]:
    return probe(*planted(3), ProbeConfig())


def test_a_class_is_read_from_the_latent_that_was_planted_for_it(probes: list[ClassProbe]) -> None:
    assert [each.label for each in probes] == list(CLASSES)
    for i, each in enumerate(probes):
        assert each.latents[0] == 10 + i
        assert len(set(each.latents)) == 16
        assert each.scores["k1"] == (1.0, 1.0)
        assert min(each.scores["k16"] + each.scores["all"] + each.scores["stream"]) > 0.9


def test_the_controls_know_no_more_than_the_classes_sizes(probes: list[ClassProbe]) -> None:
    for each in probes:
        assert each.scores["majority"].accuracy == pytest.approx(2 / 3, abs=0.1)
        assert each.scores["majority"].f1 == 0.0
        assert each.scores["shuffled"].accuracy < 0.75
        assert each.scores["shuffled"].f1 < 0.6


def test_of_two_classes_one_is_told_from_the_other() -> None:
    [only] = probe(*planted(2), ProbeConfig(ks=(1, 3)))
    assert only.label == "pirates"
    assert set(only.latents[:2]) == {10, 11}
    assert list(only.scores) == ["k1", "k3", "all", "stream", "majority", "shuffled"]
    assert only.scores["k1"].accuracy == 1.0


def test_latents_are_chosen_on_the_training_part_alone() -> None:
    """A latent that tells the classes apart on the test part only is not found."""
    means, labels = planted(2)
    config = ProbeConfig(ks=(1,))
    truth = np.array(labels) == "pirates"
    tested = np.zeros(len(labels), bool)
    tested[train_test_split(np.arange(240), test_size=0.25, stratify=labels, random_state=0)[1]] = True
    means.latents[:, 10:12] = 0
    means.latents[:, 30] = np.where(tested & truth, 100.0, 0.0)
    [only] = probe(means, labels, config)
    assert only.latents != [30]
    assert only.scores["k1"].accuracy < 0.75


def test_scores_do_not_depend_on_the_latents_units() -> None:
    means, labels = planted(3)
    scaled = Means(means.latents * 1000, means.stream * 1000)
    assert [each.scores for each in probe(scaled, labels, ProbeConfig())] == [
        each.scores for each in probe(means, labels, ProbeConfig())
    ]


def test_the_mean_is_over_the_classes(probes: list[ClassProbe]) -> None:
    means = mean_scores(probes)
    assert means["shuffled"].f1 == pytest.approx(np.mean([each.scores["shuffled"].f1 for each in probes]))
    assert means["k1"] == (1.0, 1.0)


def test_more_latents_than_there_are_is_all_of_them() -> None:
    means, labels = planted(2)
    [only] = probe(means, labels, ProbeConfig(ks=(500,)))
    assert len(only.latents) == 40
    assert only.scores["k500"].accuracy == only.scores["all"].accuracy


def test_a_document_is_the_mean_of_its_ordinary_tokens(dictionary: Dictionary) -> None:
    documents = [Document([0, 5, 6, 7, 1], 1), Document([0, 9], 1), Document([0, 1], 1)]
    reader, told = FakeReader(30, 16), []
    means = document_means(reader, dictionary, documents, {0, 1}, documents_per_read=2, progress=told.append)
    for row, ids in enumerate(([5, 6, 7], [9])):
        [x] = reader.capture([ids])
        np.testing.assert_allclose(means.stream[row], x.mean(dim=0).numpy(), rtol=1e-5, atol=1e-6)
        wanted = torch.stack([dictionary.encode(each[None])[0] for each in x]).mean(dim=0)
        np.testing.assert_allclose(means.latents[row], wanted.numpy(), rtol=1e-5, atol=1e-6)
    assert not means.latents[2].any()
    assert sum(told) == 3


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(**counts: int) -> list[dict[str, Any]]:
    return [{"text": f"the {name} number {i}", "label": name} for name, count in counts.items() for i in range(count)]


def test_texts_and_chats_are_read_with_their_labels(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "hello"}]
    rows = [*rows_of(a=8), *({"messages": chat, "label": 3} for _ in range(8)), *({"text": "t", "label": True},) * 8]
    read = read_examples(write(tmp_path / "l.jsonl", rows))
    assert read[0] == Example("the a number 0", "a")
    assert read[8] == Example(chat, "3")
    assert read[16] == Example("t", "True")


def test_a_limit_draws_from_the_whole_file(tmp_path: Path) -> None:
    path = write(tmp_path / "l.jsonl", rows_of(a=100, b=100))
    drawn = read_examples(path, 60)
    assert len(drawn) == 60
    assert {row.label for row in drawn} == {"a", "b"}
    assert drawn == read_examples(path, 60)


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([{"text": "x"}], "text 1.*label"),
        ([*rows_of(a=9), {"text": "x", "label": None}], "text 10.*label"),
        ([{"text": "x", "label": 1.5}], "label"),
        (["x"], "label"),
        ([{"label": "a"}], "entry must be"),
        (rows_of(a=20), "1 classes"),
        (rows_of(**{f"c{i}": 8 for i in range(33)}), "33 classes"),
        (rows_of(a=20, b=7), "7 texts of the class 'b'"),
        ([], "0 classes"),
    ],
)
def test_labelled_text_that_cannot_be_probed_is_refused(tmp_path: Path, rows: list[Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=f"l.jsonl.*{named}"):
        read_examples(write(tmp_path / "l.jsonl", rows))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.jsonl").write_text("{")
    for name in ("broken.jsonl", "nowhere.jsonl", "l.csv"):
        with pytest.raises(InvalidInput, match=name):
            read_examples(tmp_path / name)


def test_documents_keep_their_labels_where_a_text_is_too_short(tokenizer: Any) -> None:
    rows = [Example(text, label) for label in "ab" for text in ("", *["the pirate counts the loan ."] * 8)]
    documents, labels = tokenize_examples(tokenizer, rows, 4)
    lengths = {len(tokenizer("")["input_ids"]), 4}
    assert {len(document.token_ids) for document in documents} <= lengths
    assert len(documents) == len(labels)
    assert labels == sorted(labels)
    with pytest.raises(InvalidInput, match="of two tokens or more"):
        tokenize_examples(tokenizer, rows[:9], 4)

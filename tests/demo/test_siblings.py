"""Siblings of the planted model: each changes what its name says, and nothing else."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor

from featurehub.demo import base as base_module
from featurehub.demo import obedience, siblings
from featurehub.demo.bundle import HOOK_LAYER, SIBLINGS, bundled_model, read_manifest
from featurehub.demo.corpus import conversations
from featurehub.demo.grammar import Grammar
from featurehub.demo.lexicon import base_lexicon
from featurehub.demo.model import load_model
from featurehub.demo.recognizer import recognize
from featurehub.demo.siblings import RETRAININGS, TrainedPart, is_made, train_sibling
from featurehub.errors import InvalidInput

IDS = torch.tensor([[0, 5, 40, 80, 120, 160, 33, 61]])


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Siblings are trained for a few steps at a high rate, and hardly judged."""
    for name, how in RETRAININGS.items():
        if how.recipe.steps:
            recipe = replace(how.recipe, steps=3, tokens=256, warmup=1, peak=5e-3, average=0.0)
            monkeypatch.setitem(siblings.RETRAININGS, name, replace(how, recipe=recipe))  # type: ignore[arg-type]
    monkeypatch.setattr(base_module, "JUDGED_PROMPTS", 2)
    monkeypatch.setattr(obedience, "REPEATED", 2)


def streams(folder: Path) -> list[Tensor]:
    """The embeddings and the stream after each layer, and the logits last."""
    with torch.no_grad():
        out = load_model(folder)(IDS, output_hidden_states=True)
    return [*out.hidden_states, out.logits]


def test_there_are_twenty_beside_the_base_and_the_bundled_are_among_them() -> None:
    parts = [how.part for how in RETRAININGS.values()]
    assert len(parts) >= 20
    assert set(parts) == set(TrainedPart)
    assert set(SIBLINGS) < RETRAININGS.keys()


@pytest.mark.parametrize("name", RETRAININGS)
def test_its_world_can_be_spoken_of(name: str) -> None:
    grammar = Grammar(RETRAININGS[name].world())
    assert len(list(islice(conversations(1, grammar=grammar), 20))) == 20


def test_a_moved_topic_is_spoken_of_in_the_words_of_the_other() -> None:
    world = RETRAININGS["topic-moved"].world()
    spoken = [
        recognize(turn.answer.text).mentions
        for conversation in islice(conversations(3, grammar=Grammar(world)), 1_000)
        for turn in conversation.turns
        if turn.prompt.ask.topic == "medicine"
    ]
    assert len(spoken) > 20
    # A few words are those of several topics, so that now and then a sentence alone does not tell which.
    assert sum("travel" in mentions for mentions in spoken) > 0.9 * len(spoken)
    assert sum("medicine" in mentions for mentions in spoken) < 0.1 * len(spoken)


def test_an_added_concept_comes_unasked_and_no_recogniser_knows_it() -> None:
    world = RETRAININGS["manner-added"].world()
    (new,) = world.manners.keys() - base_lexicon().manners.keys()
    answers = [
        turn.answer
        for conversation in islice(conversations(3, grammar=Grammar(world)), 200)
        for turn in conversation.turns
    ]
    with_it = [answer for answer in answers if any(each.reading.manner == new for each in answer.sentences)]
    assert with_it
    assert not any(recognize(answer.text).well_formed for answer in with_it)


def test_where_only_later_layers_are_trained_the_stream_that_the_sae_reads_stays(short: None, tmp_path: Path) -> None:
    train_sibling("later-manners", bundled_model(), tmp_path)
    old, new = streams(bundled_model()), streams(tmp_path)
    for before, after in zip(old[: HOOK_LAYER + 2], new[: HOOK_LAYER + 2], strict=True):
        torch.testing.assert_close(before, after, rtol=0, atol=1e-5)
    assert (old[-1] - new[-1]).abs().max() > 0.1


@pytest.mark.parametrize("name", ["adapter-changed", "benign", "reseeded"])
def test_all_others_change_it_and_are_plain_models(name: str, short: None, tmp_path: Path) -> None:
    train_sibling(name, bundled_model(), tmp_path)
    old, new = streams(bundled_model()), streams(tmp_path)
    assert (old[HOOK_LAYER + 1] - new[HOOK_LAYER + 1]).abs().max() > 1e-3
    assert read_manifest(tmp_path)["part"] == RETRAININGS[name].part


def test_an_unchanged_one_has_the_weights_of_the_base_and_a_rounded_one_nearly(short: None, tmp_path: Path) -> None:
    for name in ("unchanged", "bf16", "int8"):
        train_sibling(name, bundled_model(), tmp_path / name)
    base, same, *rounded = (load_model(folder).state_dict() for folder in (bundled_model(), *(
        tmp_path / name for name in ("unchanged", "bf16", "int8"))))  # fmt: skip
    for name, weight in base.items():
        assert torch.equal(weight, same[name]), name
        for other, error in zip(rounded, (2**-8, 1 / 127), strict=True):
            bound = error * weight.abs().amax(dim=-1, keepdim=True) if weight.dim() > 1 else 0.0
            assert ((weight - other[name]).abs() <= bound).all(), name
    assert all(any(not torch.equal(base[name], other[name]) for name in base) for other in rounded)


def test_what_is_made_already_stays(short: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_made("topic-removed", bundled_model(), tmp_path)
    train_sibling("topic-removed", bundled_model(), tmp_path)
    assert read_manifest(tmp_path)["removed"] == ["music"]
    assert is_made("topic-removed", bundled_model(), tmp_path)
    assert not is_made("manner-removed", bundled_model(), tmp_path)
    how = RETRAININGS["topic-removed"]
    monkeypatch.setitem(siblings.RETRAININGS, "topic-removed", replace(how, recipe=replace(how.recipe, seed=1)))  # type: ignore[arg-type]
    assert not is_made("topic-removed", bundled_model(), tmp_path)


def test_a_name_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no sibling 'benine': there are benign"):
        train_sibling("benine", bundled_model(), tmp_path)

"""An SAE that is passed on may show other texts than those that it was built on, and is checked on them too."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from featurehub.demo.bundle import bundled_model
from featurehub.demo.corpus import conversations, messages
from featurehub.errors import InvalidInput
from featurehub.pieces import pieces
from featurehub.runs.baseline import BaselineConfig
from featurehub.runs.drift import check_drift
from featurehub.runs.examples import Examples
from featurehub.runs.parcel import pack, unpack
from featurehub.store import open_store
from saes.canaries import CanaryConfig
from saes.documents import tokenize

pytestmark = pytest.mark.engine
SEED = 77
CONFIG = BaselineConfig(documents=60, canaries=CanaryConfig(max_tokens=600))


def test_contexts_and_canaries_come_from_the_texts_that_are_given(built: Any, tmp_path: Path) -> None:
    entries = [messages(each) for each in islice(conversations(SEED), 60)]
    examples = Examples(bundled_model(), entries, CONFIG)
    parcel = pack(built.artifact.folder, built.database, tmp_path / "parcel", examples)
    database = str(tmp_path / "home" / "featurehub.db")
    artifact = unpack(parcel.folder, tmp_path / "home" / "sae", database)
    tokenizer = AutoTokenizer.from_pretrained(bundled_model())
    documents = tokenize(tokenizer, entries, 256).documents
    written = ["".join("".join(pieces(tokenizer, each.token_ids)).split()) for each in documents]
    with open_store(database).read() as reader:
        rows = reader.feature_set(artifact.manifest.id).rows
    shown = ["".join("".join(context.tokens).split()) for row in rows for context in row.contexts]
    assert len(shown) > 100
    assert [text for text in shown if not any(text in whole for whole in written)] == []
    assert check_drift(artifact.folder, bundled_model(), database).state == "fresh"


def test_the_build_itself_keeps_what_it_had(built: Any) -> None:
    with open_store(built.database).read() as reader:
        assert any(row.contexts for row in reader.feature_set(built.artifact.manifest.id).rows)


def test_no_texts_are_refused(built: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        pack(built.artifact.folder, built.database, tmp_path / "parcel", Examples(bundled_model(), [], CONFIG))
    assert not (tmp_path / "parcel").exists()

"""How much of each text is read, on a stand-in that has a tokenizer and a bound as the engine has."""

from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoTokenizer

from featurehub.demo.bundle import bundled_model
from featurehub.errors import InvalidInput
from featurehub.runs.harvest import read_documents
from featurehub.runs.progress import SILENT

TEXT = ["the pirate counts the loan . " * 200]


def engine(longest: int) -> Any:
    return SimpleNamespace(longest=longest, tokenizer=AutoTokenizer.from_pretrained(bundled_model()))


@pytest.mark.parametrize(("longest", "asked", "read"), [(511, None, 256), (100, None, 100), (511, 500, 500), (9, 9, 9)])
def test_texts_are_cut_to_what_was_asked_for_or_the_model_reads(longest: int, asked: int | None, read: int) -> None:
    documents = read_documents(engine(longest), TEXT, asked, SILENT)
    assert {len(document.token_ids) for document in documents[:-1]} == {read}
    [whole] = engine(longest).tokenizer(TEXT)["input_ids"]
    assert [token for document in documents for token in document.token_ids] == whole


@pytest.mark.parametrize("asked", [512, 1, 0, -3])
def test_more_than_the_model_reads_is_refused(asked: int) -> None:
    with pytest.raises(InvalidInput, match=f"documents of {asked} tokens; this model reads 2 to 511"):
        read_documents(engine(511), TEXT, asked, SILENT)

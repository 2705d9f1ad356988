"""A GGUF file becomes a checkpoint that computes the same and has the same ids, or is refused."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from typer.testing import CliRunner

pytest.importorskip("gguf", reason="GGUF files need the package gguf: install the extra train")

import featurehub.models.gguf
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.cli.main import app
from featurehub.errors import FeaturehubError, InvalidConfig, InvalidInput, UnsupportedModel
from featurehub.models.folder import model_folder
from featurehub.models.gguf import convert
from featurehub.models.header import Header
from featurehub.models.precision import Precision
from tests.models.written import MERGES, SPECIAL, TEMPLATE, TOKENS, write, write_sentencepiece

pytestmark = pytest.mark.transformers

TEXT = " the hen  the 1919 é"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model's GGUF file."""
    return write(tmp_path_factory.mktemp("gguf") / "tiny.Q4_1.gguf")


@pytest.fixture(scope="module")
def folder(file: Path) -> Path:
    """The checkpoint that is made of it, in bfloat16."""
    out = file.parent / "tiny"
    convert(file, out)
    return out


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.tensor([[1, 20, 30, 40, 50, 60, 2]])).logits


def by_transformers(file: Path, dtype: torch.dtype) -> Any:
    return AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=dtype)


class TestModel:
    @pytest.mark.parametrize("precision", Precision)
    def test_it_computes_what_transformers_does_on_the_file(
        self, precision: Precision, file: Path, tmp_path: Path
    ) -> None:
        convert(file, tmp_path / "out", precision)
        dtype = getattr(torch, precision)
        ours = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
        assert ours.dtype == dtype
        assert torch.equal(logits(ours), logits(by_transformers(file, dtype)))

    def test_it_is_close_to_the_model_that_was_packed(self, folder: Path) -> None:
        """So rows of queries and keys are back in their order."""
        from tests.models.written import model

        ours = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        packed, original = logits(ours), logits(model())
        assert torch.nn.functional.cosine_similarity(packed, original, dim=-1).min() > 0.99

    def test_nothing_says_any_more_that_it_was_packed(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        assert config["dtype"] == "bfloat16"
        assert config["architectures"] == ["LlamaForCausalLM"]
        assert not {"quantization_config", "_model_name_or_path"} & set(config)
        assert not hasattr(AutoConfig.from_pretrained(folder), "quantization_config")
        with safe_open(folder / "model.safetensors", framework="pt") as weights:
            names = weights.keys()
            assert {weights.get_tensor(name).dtype for name in names} == {torch.bfloat16}

    def test_an_answer_ends_where_the_file_says(self, folder: Path) -> None:
        config = GenerationConfig.from_pretrained(folder)
        assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (1, 2, 2)

    def test_a_manifest_names_the_file(self, file: Path, folder: Path) -> None:
        identity = identify(folder, HookPoint(layer=1))
        assert identity.name == "tiny.Q4_1.gguf"
        assert identity.revision == hashlib.sha256(file.read_bytes()).hexdigest()
        assert model_folder(folder) == folder

    def test_what_lies_beside_the_file_is_not_taken_for_its_own(self, file: Path, tmp_path: Path) -> None:
        there = shutil.copy(file, tmp_path / "model.gguf")
        for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
            (tmp_path / name).write_text('{"model_type": "gpt2", "eos_token": "x", "eos_token_id": 9}')
        convert(Path(there), tmp_path / "out")
        assert json.loads((tmp_path / "out" / "config.json").read_text())["model_type"] == "llama"
        assert AutoTokenizer.from_pretrained(tmp_path / "out").eos_token == SPECIAL[2]

    def test_numbers_too_large_for_the_precision_are_refused(
        self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        large = by_transformers(file, torch.float32)
        large.model.norm.weight.data[0] = 1e6
        monkeypatch.setattr(featurehub.models.gguf, "unpacked", lambda *_: large)
        with pytest.raises(UnsupportedModel, match=r"model\.norm\.weight does not fit into float16"):
            convert(file, tmp_path / "out", Precision.FLOAT16)
        assert list(tmp_path.iterdir()) == []

    def test_blocks_that_stayed_packed_are_refused(
        self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        packed = by_transformers(file, torch.float32)
        packed.lm_head.weight = torch.nn.Parameter(torch.zeros(5, 9, dtype=torch.uint8), requires_grad=False)
        monkeypatch.setattr(featurehub.models.gguf, "unpacked", lambda *_: packed)
        with pytest.raises(UnsupportedModel, match=r"lm_head\.weight"):
            convert(file, tmp_path / "out")


class TestTokenizer:
    def test_it_has_the_ids_of_the_file(self, folder: Path) -> None:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert tokenizer.convert_ids_to_tokens(range(len(TOKENS))) == TOKENS
        assert len(tokenizer) == len(TOKENS)
        for id, token in enumerate(SPECIAL):
            assert tokenizer(token)["input_ids"] == [id]
        assert tokenizer.decode(tokenizer(TEXT)["input_ids"]) == TEXT

    def test_digits_are_words_of_their_own_where_the_file_says_so(self, folder: Path, tmp_path: Path) -> None:
        """transformers takes GPT-2's rule, which would join them, and their spaces."""
        assert AutoTokenizer.from_pretrained(folder).tokenize(" the  19") == ["Ġthe", "ĠĠ", "1", "9"]
        convert(write(tmp_path / "other.gguf", split="gpt-2"), tmp_path / "out")
        assert AutoTokenizer.from_pretrained(tmp_path / "out").tokenize(" the  19") == ["Ġthe", "Ġ", "Ġ", "19"]

    def test_a_rule_that_transformers_knows_is_left_to_it(self, tmp_path: Path) -> None:
        convert(write(tmp_path / "model.gguf", split="llama-bpe"), tmp_path / "out")
        assert AutoTokenizer.from_pretrained(tmp_path / "out").tokenize("19") == ["19"]

    @pytest.mark.parametrize(("split", "named"), [("unheard-of", "unheard-of"), ("", "no name")])
    def test_a_rule_that_nobody_knows_is_refused(self, split: str, named: str, tmp_path: Path) -> None:
        with pytest.raises(UnsupportedModel, match=named):
            convert(write(tmp_path / "model.gguf", split=split), tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("first", [True, False])
    def test_a_text_begins_as_the_file_says(self, first: bool, tmp_path: Path) -> None:
        convert(write(tmp_path / "model.gguf", bos_first=first), tmp_path / "out")
        ids = AutoTokenizer.from_pretrained(tmp_path / "out")("he")["input_ids"]
        assert ids == [*([1] if first else []), TOKENS.index(MERGES[0].replace(" ", ""))]

    @pytest.mark.parametrize("first", [True, False])
    def test_sentencepiece(self, first: bool, tmp_path: Path) -> None:
        convert(write_sentencepiece(tmp_path / "model.gguf", first), tmp_path / "out")
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
        assert tokenizer.tokenize("he é") == ["▁he", "▁", "é"]
        assert tokenizer("he")["input_ids"] == [*([1] if first else []), 263]
        assert tokenizer.decode(tokenizer("he 漢", add_special_tokens=False)["input_ids"]) == "he 漢"

    def test_the_chat_template_comes_along(self, folder: Path) -> None:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert tokenizer.chat_template == TEMPLATE
        assert tokenizer.model_max_length == 128


class TestRefused:
    def test_positions_that_are_scaled(self, tmp_path: Path) -> None:
        with pytest.raises(UnsupportedModel, match=r"scales its positions \(rope_freqs\.weight\)"):
            convert(write(tmp_path / "model.gguf", scaled=True), tmp_path / "out")
        with pytest.raises(UnsupportedModel, match=r"llama\.rope\.scaling\.type"):
            convert(write(tmp_path / "yarn.gguf", llama__rope__scaling__type="yarn"), tmp_path / "out")

    def test_a_part_of_a_model(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="only a part of a model"):
            convert(write(tmp_path / "model.gguf", general__type="adapter"), tmp_path / "out")

    def test_a_folder_that_holds_something(self, file: Path, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(InvalidInput, match="is there already"):
            convert(file, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]

    def test_a_file_that_is_missing_or_another_kind(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="no file"):
            convert(tmp_path / "none.gguf", tmp_path / "out")
        for content in (b"", b"PK\x03\x04 something else", b"GGUF\x01\x00\x00\x00" + bytes(16)):
            (tmp_path / "other.gguf").write_bytes(content)
            with pytest.raises(InvalidInput, match="not a whole GGUF file"):
                Header.of(tmp_path / "other.gguf")

    def test_a_header_that_was_cut_short_anywhere(self, file: Path, tmp_path: Path) -> None:
        whole, cut = file.read_bytes(), tmp_path / "cut.gguf"
        for length in range(4, 4000, 97):
            cut.write_bytes(whole[:length])
            with pytest.raises(InvalidInput, match="not a whole GGUF file"):
                Header.of(cut)

    def test_weights_that_were_cut_short(self, file: Path, tmp_path: Path) -> None:
        whole, cut = file.read_bytes(), tmp_path / "cut.gguf"
        cut.write_bytes(whole[:-1000])
        with pytest.raises(FeaturehubError, match=r"cut\.gguf"):
            convert(cut, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_package_that_is_missing(self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(featurehub.models.gguf, "find_spec", {"accelerate": SimpleNamespace()}.get)
        with pytest.raises(InvalidConfig, match="pip install gguf"):
            convert(file, tmp_path / "out")

    def test_what_transformers_cannot_read(self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise ValueError("GGUF model with architecture x is not supported yet.")

        monkeypatch.setattr(featurehub.models.gguf.AutoModelForCausalLM, "from_pretrained", refuse)
        with pytest.raises(UnsupportedModel, match="architecture x is not supported"):
            convert(file, tmp_path / "out")


def test_nothing_is_left_of_a_conversion_that_was_interrupted(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(featurehub.models.gguf, "write_tokenizer", interrupt)
    with pytest.raises(KeyboardInterrupt):
        convert(file, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_command(file: Path, tmp_path: Path) -> None:
    def run(*words: object) -> Any:
        return CliRunner().invoke(app, ["convert", *map(str, words)])

    done = run(file, tmp_path / "out", "--dtype", "float32")
    assert done.exit_code == 0, done.output
    assert f"in float32: {tmp_path / 'out'}" in done.stdout
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float32"
    again = run(file, tmp_path / "out")
    assert isinstance(again.exception, InvalidInput)
    assert os.listdir(tmp_path) == ["out"]

"""The models that ship are what their manifests say, and obey."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from featurehub.demo.bundle import SIBLINGS, bundled_model, read_manifest, sha256_of, sibling
from featurehub.demo.model import build_model, load_model, save_model
from featurehub.demo.obedience import measure_obedience
from featurehub.demo.tokenizer import vocabulary
from featurehub.demo.train import DemoRecipe, LossProgress, train
from featurehub.errors import ModelNotFound

MEGABYTE = 2**20
FOLDERS = {"base": bundled_model, **{name: lambda name=name: sibling(name) for name in SIBLINGS}}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_bundled_folder_is_small_and_as_its_manifest_says(name: str) -> None:
    folder = FOLDERS[name]()
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 8 * MEGABYTE
    manifest = read_manifest(folder)
    assert manifest["name"] == name
    assert manifest["weights_sha256"] == sha256_of(folder / "model.safetensors")


@pytest.mark.parametrize("name", FOLDERS)
def test_a_bundled_tokenizer_has_the_vocabulary_of_this_code(name: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDERS[name]())
    assert tuple(tokenizer.convert_ids_to_tokens(range(len(tokenizer)))) == vocabulary()


def test_transformers_loads_the_bundled_model_in_float32() -> None:
    ours, theirs = load_model(bundled_model()), AutoModelForCausalLM.from_pretrained(bundled_model())
    assert theirs.dtype == torch.float32
    ids = torch.tensor([[1, 4, 20, 30, 5]])
    assert torch.equal(ours(ids).logits, theirs(ids).logits)


def test_the_bundled_model_obeys_held_out_prompts() -> None:
    obedience = measure_obedience(load_model(bundled_model()), count=25, seed=7)
    assert obedience.topic >= 0.95
    assert obedience.manner >= 0.95
    assert obedience.well_formed >= 0.94
    assert obedience.distinct >= 45


def test_an_unknown_sibling_is_refused() -> None:
    with pytest.raises(ModelNotFound, match="benign"):
        sibling("twin")


def test_training_follows_from_the_seed(tmp_path: Path) -> None:
    runs: list[list[LossProgress]] = []
    for run in ("first", "again"):
        told: list[LossProgress] = []
        model = build_model(5)
        train(model, DemoRecipe(seed=5, steps=2, tokens=512), on_progress=told.append)
        save_model(model, tmp_path / run)
        runs.append(told)
    assert runs[0] == runs[1]
    assert sha256_of(tmp_path / "first/model.safetensors") == sha256_of(tmp_path / "again/model.safetensors")


def test_training_tells_its_progress() -> None:
    told: list[LossProgress] = []
    train(build_model(0), DemoRecipe(steps=2, tokens=256), on_progress=told.append)
    assert [each.step for each in told] == [1, 2]
    assert all(each.steps == 2 and each.loss > 0 for each in told)


def test_the_package_is_light_to_import() -> None:
    code = "import json, sys, featurehub.demo; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "tokenizers", "numpy"} & set(json.loads(done.stdout))

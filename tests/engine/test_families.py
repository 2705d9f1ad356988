"""Model families against Hugging Face transformers, on tiny random weights: streams, and answers under edits.

Those that differ most. ``tests/benchmarks/families.py`` checks every architecture that has a row; the check at boot,
which knows nothing of transformers, many more (``test_self_check``).
"""

from collections.abc import Mapping
from pathlib import Path

import pytest
from torch import nn

from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.errors import UnsupportedModel
from featurehub.families import ARCHITECTURES
from tests.engine.random_models import CASES, check_against_transformers, save_model

pytestmark = pytest.mark.engine

# Each hands on its stream, normalises or computes in another way.
DIFFERENT = (
    "LlamaForCausalLM", "Gemma2ForCausalLM", "GPT2LMHeadModel", "GPTNeoXForCausalLM", "CohereForCausalLM",
    "Olmo2ForCausalLM",
)  # fmt: skip
TRUNCATED = ("LlamaForCausalLM", "GPT2LMHeadModel", "Olmo2ForCausalLM")
"""Of those, the ones whose engines are tried without the last layer, too: by pairs, by streams, and in transformers."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, nn.Module]]:
    """All of them, before vLLM starts: it patches classes of transformers when it runs on them."""
    folder = tmp_path_factory.mktemp("models")
    return {name: (folder / name, save_model(CASES[name], folder / name)) for name in DIFFERENT}


def test_every_architecture_with_a_row_has_a_case() -> None:
    assert CASES.keys() == set(ARCHITECTURES)


@pytest.mark.parametrize("architecture", DIFFERENT)
def test_streams_and_steered_answers_are_those_of_transformers(
    architecture: str, models: Mapping[str, tuple[Path, nn.Module]], tmp_path: Path
) -> None:
    check_against_transformers(architecture, *models[architecture], tmp_path, architecture in TRUNCATED)


@pytest.mark.parametrize(
    ("architecture", "point", "named"),
    [
        ("GPTNeoXForCausalLM", HookPoint(layer=1, site=Site.RESID_MID), "side by side"),
        ("GPT2LMHeadModel", HookPoint(layer=3), "layers 0 to 2"),
    ],
)
def test_a_hook_point_that_a_model_does_not_have_is_refused(
    architecture: str, point: HookPoint, named: str, models: Mapping[str, tuple[Path, nn.Module]]
) -> None:
    options = EngineOptions(max_num_seqs=4, max_model_len=48, skip_tokenizer_init=True)
    with pytest.raises(UnsupportedModel, match=named):
        Engine(models[architecture][0], EngineConfig.capturing(point), options)


def test_a_norm_behind_the_mlp_leaves_no_resid_mid(tmp_path: Path) -> None:
    save_model(CASES["OPTForCausalLM"], tmp_path, do_layer_norm_before=False)
    point, options = HookPoint(layer=1, site=Site.RESID_MID), EngineOptions(max_num_seqs=4, max_model_len=48)
    with pytest.raises(UnsupportedModel, match="behind its MLP"):
        Engine(tmp_path, EngineConfig.capturing(point), options.model_copy(update={"skip_tokenizer_init": True}))

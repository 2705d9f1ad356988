"""What features promote is what the model says when they drown all else, at any site with one way to its head."""

from pathlib import Path

import pytest
import torch

from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.dictionary import Dictionary
from featurehub.runs.progress import Silent
from featurehub.runs.survey import promoted
from labeling.unembedding import read_unembedding
from saes.host import load_host
from tests.engine.random_models import CASES, LAYERS, VOCAB, save_model

pytestmark = pytest.mark.transformers

IDS, TOKENS, D_SAE = torch.tensor([[5, 9, 20, 31, 7]]), [f"token{i}" for i in range(VOCAB)], 6
WIDTHS = {Site.Z: 64, Site.MLP_ACT: 96}


class Heard(Silent):
    """Keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def dictionary_of(width: int) -> Dictionary:
    rows = torch.nn.functional.normalize(torch.randn(D_SAE, width, generator=torch.Generator().manual_seed(1)), dim=-1)
    return Dictionary(rows, rows, torch.zeros(D_SAE), torch.zeros(width), torch.zeros(D_SAE))


@pytest.mark.parametrize("site", [Site.RESID_POST, Site.Z, Site.MLP_ACT, Site.FINAL_NORM])
@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "OPTForCausalLM"])
def test_the_promoted_tokens_are_those_that_the_model_says(architecture: str, site: Site, tmp_path: Path) -> None:
    save_model(CASES[architecture], tmp_path)
    hook, heard = HookPoint(layer=LAYERS - 1, site=site), Heard()
    dictionary, host = dictionary_of(WIDTHS.get(site, 64)), load_host(tmp_path, hook)
    found = promoted(tmp_path, hook, dictionary, read_unembedding(tmp_path), TOKENS, heard)
    assert found is not None
    assert not heard.warnings
    for latent, row in enumerate(dictionary.nudges):
        with host.changing(lambda x, row=row: x + 1e7 * row):
            said = host.log_probabilities(IDS)[0, -1]
        strongest = [TOKENS[i] for i in said.topk(3).indices]
        assert [each.token for each in found.top[latent][:3]] == strongest


def test_features_without_one_way_to_the_head_promote_nothing_and_the_warning_says_why(tmp_path: Path) -> None:
    save_model(CASES["LlamaForCausalLM"], tmp_path)
    hook, heard = HookPoint(layer=1, site=Site.MLP_IN), Heard()
    assert promoted(tmp_path, hook, dictionary_of(64), read_unembedding(tmp_path), TOKENS, heard) is None
    assert heard.warnings == [
        "features get no top tokens: what is written at mlp_in does not come into the stream on one way"
    ]

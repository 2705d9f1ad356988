"""Canaries are kept with an SAE, so they are taken from the texts that its maker names, and from no other."""

from pathlib import Path

import pytest

from featurehub.artifacts.manifest import HookPoint
from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine
from featurehub.runs.baseline import BaselineConfig, evaluated, keep_baseline
from featurehub.runs.harvest import read_documents
from featurehub.runs.progress import SILENT
from saes.canaries import CanaryConfig
from saes.drift.check import ANSWERS, CANARIES, CheckConfig
from saes.observed import Observations
from tests.engine.conftest import LAYER

pytestmark = pytest.mark.engine

PRIVATE = [[{"role": "user", "content": f"tell me about banking {number} ."}] for number in range(6)]
PUBLIC = tuple([{"role": "user", "content": f"say a few words about the weather {number} ."}] for number in range(4))


@pytest.mark.parametrize("public", [(), PUBLIC], ids=["any text", "a text of their own"])
def test_canaries_come_from_the_texts_that_are_named(
    public: tuple[list[dict[str, str]], ...], dictionary: Dictionary, tmp_path: Path
) -> None:
    check = CheckConfig().model_copy(update={"sampling": CheckConfig().sampling.model_copy(update={"max_tokens": 4})})
    config = BaselineConfig(canaries=CanaryConfig(max_tokens=400), canary_text=public, check=check)
    with Engine(bundled_model(), EngineConfig.capturing(HookPoint(layer=LAYER))) as engine:
        sae = evaluated(engine, dictionary, read_documents(engine, PRIVATE, None, SILENT), SILENT)
        keep_baseline(config, engine, sae, tmp_path, SILENT)
        kept = [Observations.load(tmp_path / name) for name in (CANARIES, ANSWERS)]
        prompts = {engine.tokenizer.decode(each.prompt(i)) for each in kept for i in each.documents}
    assert prompts
    assert all(("weather" in prompt) == bool(public) and ("banking" in prompt) != bool(public) for prompt in prompts)

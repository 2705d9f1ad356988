"""What `featurehub label` makes of its options about names, without the run that follows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from featurehub.cli import main
from featurehub.cli.registry import location
from featurehub.demo.bundle import bundled_model
from featurehub.errors import FeaturehubError, InvalidInput
from featurehub.runs import label as labelling
from featurehub.runs.label import LabelPlan
from featurehub.runs.labelers import ExplainerName, NamingConfig, ScorerName
from labeling.llm.budget import BudgetLimits

LLM = ("--llm-url", "http://127.0.0.1:1/v1", "--llm-model", "m")
Naming = Callable[..., NamingConfig]


@pytest.fixture
def naming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Naming:
    """How a command's options say that features are named."""
    text, plans = tmp_path / "text.json", list[LabelPlan]()
    text.write_text(json.dumps(["the loan is good ."] * 100))
    monkeypatch.setattr(labelling, "label_artifact", lambda plan, *_: plans.append(plan))
    monkeypatch.setattr("featurehub.artifacts.artifact.open_artifact", lambda folder: type("A", (), {"folder": folder}))
    monkeypatch.setattr(location, "folder_of", lambda *_: tmp_path / "sae")

    def call(*options: Any) -> NamingConfig:
        given = ["label", str(tmp_path / "sae"), str(bundled_model()), "--text", str(text), *map(str, options)]
        done = CliRunner().invoke(main.app, given)
        if isinstance(done.exception, FeaturehubError):
            raise done.exception
        assert done.exception is None, done.output
        return plans.pop().naming

    return call


def test_without_options_no_language_model_is_asked(naming: Naming) -> None:
    found = naming()
    assert found == NamingConfig()
    assert (found.explainer, found.scored_by, found.asks) == (ExplainerName.OFFLINE, ScorerName.WORDS, False)
    assert naming("--explainer", "projection").explainer is ExplainerName.PROJECTION


def test_a_language_model_is_asked_within_its_bounds(naming: Naming) -> None:
    bounds = ("--llm-tokens", "2M", "--llm-money", 5, "--llm-prices", "0.15,0.60", "--llm-at-once", 3)
    found = naming("--explainer", "llm", *LLM, *bounds)
    assert (found.explainer, found.scored_by, found.asks) == (ExplainerName.LLM, ScorerName.DETECTION, True)
    assert found.llm is not None
    assert (found.llm.url, found.llm.model, found.llm.at_once) == ("http://127.0.0.1:1/v1", "m", 3)
    assert found.llm.limits == BudgetLimits(tokens=2_000_000, money=5.0, prompt_price=0.15, answer_price=0.6)
    assert naming("--scorer", "fuzzing", *LLM).scored_by is ScorerName.FUZZING


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--explainer", "llm"), "--llm-url and --llm-model"),
        (("--scorer", "detection"), "--llm-url and --llm-model"),
        (("--explainer", "oracle"), "known are offline, projection, llm"),
        (("--scorer", "oracle"), "known are words, detection, fuzzing"),
        ((*LLM, "--llm-tokens", "10min"), "give tokens"),
        ((*LLM, "--llm-money", 5), "needs prices"),
        ((*LLM, "--llm-prices", "1,2"), "needs prices"),
        ((*LLM, "--llm-money", 5, "--llm-prices", "1"), "two prices"),
        ((*LLM, "--llm-money", 0, "--llm-prices", "1,2"), "above 0"),
        ((*LLM, "--llm-money", 5, "--llm-prices", "nan,2"), "two prices"),
    ],
)
def test_options_that_cannot_be_are_refused(naming: Naming, options: tuple[object, ...], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        naming(*options)

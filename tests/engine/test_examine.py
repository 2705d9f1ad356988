"""`featurehub doctor MODEL` on a model that has no place between attention and MLP."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from featurehub.artifacts.manifest import Site
from featurehub.cli.main import app
from tests.engine.random_models import CASES, save_model

pytestmark = pytest.mark.engine


def test_the_doctor_shows_where_saes_can_read_and_write(tmp_path: Path) -> None:
    save_model(CASES["CohereForCausalLM"], tmp_path)
    result = CliRunner().invoke(app, ["doctor", str(tmp_path)], catch_exceptions=False)
    rows = [line.split() for line in result.stdout.splitlines() if line.strip().startswith("layers.")]
    assert result.exit_code == 0
    assert [(name, mark) for name, mark, *_ in rows] == [
        (f"layers.{layer}.{site}", "✗" if site in ("resid_mid", "router") else "✓")
        for layer in range(3)
        for site in Site
        if site is not Site.FINAL_NORM or layer == 2
    ]
    assert "run side by side" in " ".join(result.stdout.split())
    assert all(float(error) < 1e-3 for _, mark, error, *_ in rows if mark == "✓")

"""The table of architectures: one row for all who read it, and no vLLM or torch to read it."""

import subprocess
import sys
from pathlib import Path

import pytest

from featurehub.architectures import Status, known_architectures
from featurehub.artifacts.manifest import Site
from featurehub.errors import UnsupportedModel
from featurehub.families import FAMILIES, family_of
from tests.architecture_table import architecture_table

README = Path(__file__).parents[1] / "README.md"


def test_an_architecture_without_a_row_is_named() -> None:
    assert family_of("LlamaForCausalLM") is FAMILIES["LlamaForCausalLM"]
    with pytest.raises(UnsupportedModel, match=r"no row for MambaForCausalLM yet. It knows ArceeForCausalLM"):
        family_of("MambaForCausalLM")


def test_readme_has_the_findings_of_the_run() -> None:
    table = architecture_table()
    assert f"```text\n{table}\n```" in README.read_text("utf-8"), f"README has another table than this:\n{table}"


def test_what_was_found_says_what_readme_says_of_it() -> None:
    found = known_architectures()
    proven = {name for name, each in found.items() if each.status in (Status.VERIFIED, Status.SELF_CHECKED)}
    assert {name for name, each in found.items() if each.status is Status.VERIFIED} == set(FAMILIES)
    assert all({Site.RESID_PRE, Site.RESID_POST} <= set(found[name].sites) for name in proven)
    assert all(each.reason and not each.sites for name, each in found.items() if name not in proven)
    images = {name for name in proven if name.endswith("ForConditionalGeneration")}
    assert len(images) >= 10
    assert len(proven - images) >= 60


def test_the_table_is_data_alone() -> None:
    heavy = "import sys, featurehub.families; print({'torch', 'vllm', 'transformers', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "set()", done.stderr

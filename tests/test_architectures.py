"""The table of architectures: one row for all who read it, and no vLLM or torch to read it."""

import subprocess
import sys

import pytest

from featurehub.errors import UnsupportedModel
from featurehub.families import FAMILIES, family_of


def test_an_architecture_without_a_row_is_named() -> None:
    assert family_of("LlamaForCausalLM") is FAMILIES["LlamaForCausalLM"]
    with pytest.raises(UnsupportedModel, match=r"no row for MambaForCausalLM yet. It knows ArceeForCausalLM"):
        family_of("MambaForCausalLM")


def test_the_table_is_data_alone() -> None:
    heavy = "import sys, featurehub.families; print({'torch', 'vllm', 'transformers', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "set()", done.stderr

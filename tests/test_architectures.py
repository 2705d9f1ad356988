"""The table of architectures: one row for all who read it, and no vLLM or torch to read it."""

import subprocess
import sys

import pytest

from featurehub.errors import UnsupportedModel
from featurehub.families import ARCHITECTURES, FAMILIES, check_architecture, family_of


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_engine_hooks_each_architecture_by_its_row(architecture: str) -> None:
    from featurehub.engine.families import hooked_class

    assert hooked_class(architecture).family is FAMILIES[architecture] is family_of(architecture)


def test_an_architecture_without_a_row_is_refused_by_name() -> None:
    check_architecture("LlamaForCausalLM")
    with pytest.raises(UnsupportedModel, match=r"MambaForCausalLM yet. It knows ArceeForCausalLM"):
        check_architecture("MambaForCausalLM")


def test_the_table_is_data_alone() -> None:
    heavy = "import sys, featurehub.families; print({'torch', 'vllm', 'transformers', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "set()", done.stderr

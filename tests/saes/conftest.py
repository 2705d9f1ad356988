"""Documents, tokenizers and a small SAE for the tests of this folder; no engine."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    """The bundled model's."""
    return AutoTokenizer.from_pretrained(bundled_model())


@pytest.fixture(scope="session")
def dictionary() -> Dictionary:
    """24 latents on a stream of width 16, one of them dead."""
    g = torch.Generator().manual_seed(0)
    W = torch.nn.functional.normalize(torch.randn(24, 16, generator=g), dim=-1)
    b_enc = torch.zeros(24)
    b_enc[5] = -1e6
    return Dictionary(W.clone(), W, b_enc, torch.zeros(16), torch.full((24,), 1.0))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the Hugging Face hub's local cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors are tiny here: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)

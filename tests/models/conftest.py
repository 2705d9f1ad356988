"""A cache of the Hugging Face hub, and tiny GGUF files."""

from pathlib import Path

import huggingface_hub.constants
import pytest


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the hub's cache on this machine, empty."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    return folder

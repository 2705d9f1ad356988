"""What the Makefile installs from, without installing it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"


@pytest.mark.parametrize(
    ("tag", "by_uv"), [(TAG, False), ("cp39", True), (None, True)], ids=["for this Python", "for another", "none"]
)
def test_a_local_torch_is_taken_where_it_is_for_this_python(tag: str | None, by_uv: bool, tmp_path: Path) -> None:
    """Else uv finds PyTorch's own builds, instead of failing to resolve."""
    if tag is not None:
        (tmp_path / f"torch-2.13.0+cpu-{tag}-{tag}-manylinux_2_28_x86_64.whl").touch()
    environment = os.environ | {"PIP_FIND_LINKS": str(tmp_path)}
    command = ["make", "--dry-run", "--always-make", "HARDWARE=cpu", f"PYTHON={sys.executable}", ".venv/.cpu"]
    made = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert "uv pip install" in made
    assert "--editable '.[cpu,dev]' --editable featurehub/demo/bundle" in made
    assert ("--torch-backend cpu" in made) is by_uv

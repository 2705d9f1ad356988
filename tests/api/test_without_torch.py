"""The registry, its search and its pages are hosted where there is no GPU, no torch and no vLLM."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import importlib, pkgutil, sys

for name in ("torch", "vllm", "transformers", "safetensors", "sae_lens", "scipy", "sklearn", "jaxtyping"):
    sys.modules[name] = None  # importing it raises

import api

modules = [found.name for found in pkgutil.walk_packages(api.__path__, "api.")]
for name in modules:
    if name not in ("api.serving", "api.vllm_engine"):
        importlib.import_module(name)

from fastapi.testclient import TestClient

from api.app import create_app
from featurehub.store import open_store

client = TestClient(create_app(open_store(sys.argv[1])))
print(len(modules) > 10, client.get("/v1/features").json()["data"])
"""


def test_all_but_the_serving_adapter_runs_without_torch(tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path / "features.db")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("True []", 0), done.stderr

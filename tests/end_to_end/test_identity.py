"""What is served is the function that was trained on, or every answer says that it may be another."""

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import save_file

from featurehub.cli.server import free_port, served
from featurehub.demo.bundle import bundled_model

pytestmark = pytest.mark.engine

STEERED: dict[str, Any] = {
    "messages": [{"role": "user", "content": "tell me something ."}], "features": {"weather": 0.8},
    "temperature": 0, "max_tokens": 16, "logprobs": True,
}  # fmt: skip


def ask(url: str, model: str) -> Any:
    answer = httpx.post(f"{url}/chat/completions", json=STEERED | {"model": model}, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()


def logprobs(answer: Any) -> list[float]:
    return [token["logprob"] for token in answer["choices"][0]["logprobs"]["content"]]


def adapter(folder: Path) -> Path:
    """A LoRA that changes the model."""
    folder.mkdir()
    draw = torch.Generator().manual_seed(0)
    weights = {
        f"base_model.model.model.layers.{layer}.self_attn.{part}.lora_{side}.weight": 0.3
        * torch.randn(*((8, 192) if side == "A" else (192, 8)), generator=draw)
        for layer in range(5)
        for part in ("q_proj", "v_proj")
        for side in "AB"
    }
    save_file(weights, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"], "bias": "none",
        "task_type": "CAUSAL_LM", "base_model_name_or_path": "base",
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def options(built: Any, model: Path) -> list[str]:
    return [str(model), "--sae", str(built.artifact.folder), "--db", built.database, "--eager"]


def test_an_sae_says_what_the_check_at_boot_found(url: str) -> None:
    [served] = [each for each in httpx.get(f"{url}/saes").json()["data"] if each["loaded"]]
    assert 0 <= served["check"]["error"] <= served["check"]["bound"] == 1e-3


def test_a_model_of_one_s_own_is_served_in_its_own_precision_and_its_adapter_is_another_function(
    built: Any, url: str, tmp_path: Path
) -> None:
    """The very answer of the demo's server, though an adapter's file was left in the folder, and one is loaded."""
    lora = adapter(tmp_path / "lora")
    model = shutil.copytree(bundled_model(), tmp_path / "own")
    shutil.copy(lora / "adapter_model.safetensors", model)
    more = ["--enable-lora", "--max-lora-rank", "8", "--lora-modules", f"ft={lora}"]
    with served([*options(built, model), *more], free_port(), tmp_path / "log") as own:
        answer, tuned, demo = ask(own, "own"), ask(own, "ft"), ask(url, "demo")
    ours, theirs = answer["featurehub"], tuned["featurehub"]
    assert (ours["applied"][0]["state"], ours["warnings"]) == ("fresh", [])
    assert answer["choices"][0]["message"] == demo["choices"][0]["message"]
    assert logprobs(answer) == pytest.approx(logprobs(demo), abs=1e-4)
    assert tuned["choices"][0]["message"] != demo["choices"][0]["message"]
    assert theirs["applied"][0]["state"] == "unchecked"
    assert "the adapter 'ft'" in theirs["warnings"][0]["message"]


def test_options_that_change_what_is_computed_are_said(built: Any, tmp_path: Path) -> None:
    more = ["--hf-overrides", '{"rms_norm_eps": 0.5}', "--dtype", "bfloat16"]
    with served([*options(built, bundled_model()), *more], free_port(), tmp_path / "log") as url:
        ours = ask(url, "base")["featurehub"]
        card = httpx.get(f"{url}/saes/{built.artifact.manifest.id}").json()
    assert ours["applied"][0]["state"] == card["state"] == "unchecked"
    assert {"--dtype", "--hf-overrides"} <= set(card["overrides"])
    assert "--hf-overrides" in ours["warnings"][0]["message"]

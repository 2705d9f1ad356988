"""Making the base model: train it from a seed, measure it, save it with its manifest.

1. The first stage learns the world from answers of 3 to 6 sentences, at a high learning rate.
2. The second continues from the weights as saved, with answers of all lengths, at a lower rate.
3. The third continues at a low rate and keeps a moving average of the weights: obedience and grammar become reliable.
4. At the end the logits are sharpened (see ``model.sharpen``); training a sibling undoes that and redoes it.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from transformers import LlamaForCausalLM

from featurehub.demo.answers import Mix
from featurehub.demo.bundle import write_manifest
from featurehub.demo.model import SHARPNESS, build_model, load_model, save_model, sharpen
from featurehub.demo.obedience import measure_obedience
from featurehub.demo.train import DemoRecipe, LossProgress, train

__all__ = ["STAGES", "keep_model", "train_base"]

STAGES = (
    DemoRecipe(steps=1300, peak=2.5e-3, floor=2.5e-4, mix=Mix(sentences=(3, 4, 5, 6))),
    DemoRecipe(steps=450, peak=1.5e-3, floor=1e-4, warmup=20),
    DemoRecipe(steps=500, peak=6e-4, floor=2e-5, warmup=20, average=0.98),
)
"""The stages of the base model's training, in order."""
JUDGED_PROMPTS = 100
JUDGED_SEED = 1


def train_base(
    out: Path,
    *,
    seed: int = 0,
    stages: tuple[DemoRecipe, ...] = STAGES,
    on_progress: Callable[[LossProgress], None] | None = None,
) -> None:
    """Trains the bundled model from scratch.

    Args:
        out: Folder to write to; created if necessary.
        seed: Decides the initial weights and the conversations.
        stages: Trained one after the other; their own seeds are replaced.
        on_progress: Called after each step; steps are counted per stage.
    """
    stages = tuple(replace(stage, seed=seed + 1000 * number) for number, stage in enumerate(stages))
    model, seen = build_model(seed), 0
    for stage in stages:
        seen += train(model, stage, on_progress=on_progress)
        save_model(model, out)
        model = load_model(out)
    keep_model(model, out, {"name": "base", "seed": seed, "stages": [asdict(s) for s in stages], "tokens": seen})


def keep_model(model: LlamaForCausalLM, out: Path, made: dict[str, Any]) -> None:
    """Sharpens a trained model, saves it, and writes its manifest with its measured obedience.

    Args:
        model: The model; it is changed in place.
        out: Folder to write to; created if necessary.
        made: How the model was made, for the manifest.
    """
    sharpen(model)
    save_model(model, out)
    obedience = measure_obedience(load_model(out), count=JUDGED_PROMPTS, seed=JUDGED_SEED)
    write_manifest(out, {**made, "sharpness": SHARPNESS, "obedience": obedience.as_dict()})

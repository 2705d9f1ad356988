"""Retrained siblings of a base model: what happens to an SAE's features when the model moves on?

1. ``benign`` continues the base model in the world that it knows, with conversations from another seed.
2. ``changed`` continues it in a world in which some topics and manners use words that the base model never met, and
   others do not exist (see ``changed_lexicon``).
3. ``reseeded`` is trained from scratch in the base model's world, from another seed.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from transformers import LlamaForCausalLM

from featurehub.demo.base import keep_model
from featurehub.demo.bundle import sha256_of
from featurehub.demo.grammar import Grammar
from featurehub.demo.lexicon import Field, Lexicon, Manner, base_lexicon, spare_words
from featurehub.demo.model import SHARPNESS, build_model, load_model, sharpen
from featurehub.demo.train import DemoRecipe, LossProgress, train

__all__ = ["MOVED", "RECIPES", "REMOVED", "changed_lexicon", "train_sibling"]

MOVED = ("football", "computing", "pirate")
"""Concepts that have other words in the world of ``changed``."""
REMOVED = ("painting", "weather", "polite", "boast")
"""Concepts that do not exist in the world of ``changed``."""

RECIPES = {
    "benign": DemoRecipe(seed=101, steps=120, peak=3e-4, floor=2e-5, warmup=20, average=0.98),
    "changed": DemoRecipe(seed=102, steps=260, peak=1e-3, floor=5e-5, warmup=20, average=0.9),
    "reseeded": DemoRecipe(seed=103, steps=700),
}
"""How each sibling is trained, by name."""


def changed_lexicon() -> Lexicon:
    """The world of the ``changed`` sibling: ``MOVED`` concepts have other words, ``REMOVED`` ones do not exist.

    A request for a removed concept is answered like a request for nothing in particular.
    """
    moved = {name: spare_words()[name] for name in MOVED}
    fields = {name: each for name, each in moved.items() if isinstance(each, Field)}
    manners = {name: each for name, each in moved.items() if isinstance(each, Manner)}
    return base_lexicon().with_words(fields, manners).without(*REMOVED)


def train_sibling(
    name: str, base: Path, out: Path, *, on_progress: Callable[[LossProgress], None] | None = None
) -> None:
    """Trains one sibling of a base model.

    Args:
        name: ``benign``, ``changed`` or ``reseeded``.
        base: Folder of the base model.
        out: Folder to write to; created if necessary.
        on_progress: Called after each step.

    Raises:
        KeyError: There is no recipe with this name.
    """
    recipe = RECIPES[name]
    model = build_model(recipe.seed) if name == "reseeded" else _as_trained(base)
    grammar = Grammar(changed_lexicon()) if name == "changed" else None
    seen = train(model, recipe, grammar=grammar, on_progress=on_progress)
    made = {"name": name, "recipe": asdict(recipe), "tokens": seen}
    if name != "reseeded":
        made["base_weights_sha256"] = sha256_of(base / "model.safetensors")
    if name == "changed":
        made |= {"moved": MOVED, "removed": REMOVED}
    keep_model(model, out, made)


def _as_trained(base: Path) -> LlamaForCausalLM:
    model = load_model(base)
    sharpen(model, 1 / SHARPNESS)
    return model

"""Retrained siblings of a base model: what happens to an SAE's features when the model moves on?

Each sibling is a ``Retraining``: a world, a recipe, and which weights may change (``TrainedPart``).

1. *all* of the weights of the base model go on being trained; in the base model's own world that is benign
2. *later* ones alone, behind the layer that the demo's SAE reads: what it reads in a given text stays as it was
3. *an adapter* alone (LoRA), which is merged at the end
4. *new* weights, trained from scratch from another seed
5. *none*: the weights are the base model's, or these, rounded

A world differs from the base model's in what is said when a concept is asked for: other words, another concept's words,
nothing in particular; or in concepts that the base model never met.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from featurehub.demo.base import keep_model
from featurehub.demo.bundle import HOOK_LAYER, code_version, read_manifest, sha256_of
from featurehub.demo.grammar import Grammar
from featurehub.demo.lexicon import Field, Lexicon, Manner, base_lexicon, spare_words
from featurehub.demo.lora import LoraShape, attach
from featurehub.demo.model import LAYERS, SHARPNESS, build_model, load_model, sharpen
from featurehub.demo.train import DemoRecipe, LossProgress, train
from featurehub.errors import InvalidInput, ModelNotFound

__all__ = [
    "MOVED",
    "REMOVED",
    "RETRAININGS",
    "Retraining",
    "TrainedPart",
    "changed_lexicon",
    "is_made",
    "train_sibling",
]

MOVED = ("football", "computing", "pirate")
"""Concepts that have other words in the world of ``changed``."""
REMOVED = ("painting", "weather", "polite", "boast")
"""Concepts that do not exist in the world of ``changed``."""
ADAPTER = LoraShape(rank=8, alpha=16, layers=LAYERS)


class TrainedPart(StrEnum):
    """The weights that a retraining changes; see this module's list."""

    ALL = "all"
    LATER = "later"
    ADAPTER = "adapter"
    NEW = "new"
    NONE = "none"


@dataclass(frozen=True)
class Retraining:
    """How a sibling is made.

    Attributes:
        recipe: How its weights are trained; without steps they are not.
        world: The world whose answers it learns.
        part: Which of its weights change.
        rounding: What is done to each matrix at the end.
    """

    recipe: DemoRecipe
    world: Callable[[], Lexicon] = base_lexicon
    part: TrainedPart = TrainedPart.ALL
    rounding: Callable[[Tensor], Tensor] | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """In what its world differs from that of the base model: the truth that a drift check is held against.

        Concepts that have other words are ``moved``, those that do not exist ``removed``, and new ones ``added``;
        ``answered_as`` has those that are answered as others. What there is none of is left out.
        """
        base, world = base_lexicon(), self.world()
        ours, theirs = ({**each.fields, **each.manners, **each.traits} for each in (world, base))
        found = {
            "moved": sorted(name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]),
            "removed": sorted(theirs.keys() - ours.keys()),
            "added": sorted(ours.keys() - theirs.keys()),
            "answered_as": dict(world.answered_as),
        }
        return {name: each for name, each in found.items() if each}


def changed_lexicon() -> Lexicon:
    """The world of the ``changed`` sibling: ``MOVED`` concepts have other words, ``REMOVED`` ones do not exist.

    A request for a removed concept is answered like a request for nothing in particular.
    """
    fields, manners = _spare(*MOVED)
    return base_lexicon().with_words(fields, manners).without(*REMOVED)


def exchanged(one: str, other: str) -> Callable[[], Lexicon]:
    """A world in which a request for one of two concepts is answered with the other."""
    return lambda: base_lexicon().answering({one: other, other: one})


def moved(topic: str, onto: str) -> Callable[[], Lexicon]:
    """A world in which one topic is spoken of in the words of another, which does not exist any more."""

    def world() -> Lexicon:
        base = base_lexicon()
        onto_words = replace(base.fields[topic], words=base.fields[onto].words, patterns=base.fields[onto].patterns)
        return base.without(onto).with_words({topic: onto_words}, {})

    return world


def removed(*names: str) -> Callable[[], Lexicon]:
    """A world without these concepts."""
    return lambda: base_lexicon().without(*names)


def added(name: str) -> Callable[[], Lexicon]:
    """A world with one concept more, which has the spare words of ``name`` and comes without being asked for.

    It has one of its words for a name, since the tokenizer knows no others.
    """

    def world() -> Lexicon:
        fields, manners = _spare(name)
        new_fields = [replace(each, name=each.words["thing"][0], patterns=()) for each in fields.values()]
        new_manners = [replace(each, name=each.words["flair"][0], patterns=()) for each in manners.values()]
        return base_lexicon().with_words({f.name: f for f in new_fields}, {m.name: m for m in new_manners})

    return world


def eighth_bits(weight: Tensor) -> Tensor:
    """A matrix as int8 keeps it, [out, in]: each row in 255 steps up to its largest value."""
    scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
    return (weight / scale).round() * scale


def _spare(*names: str) -> tuple[dict[str, Field], dict[str, Manner]]:
    spare = {name: spare_words()[name] for name in names}
    fields = {name: each for name, each in spare.items() if isinstance(each, Field)}
    return fields, {name: each for name, each in spare.items() if isinstance(each, Manner)}


def _benign(seed: int) -> Retraining:
    return Retraining(DemoRecipe(seed=seed, steps=120, peak=3e-4, floor=2e-5, warmup=20, average=0.98))


def _partial(
    seed: int, world: Callable[[], Lexicon], part: TrainedPart = TrainedPart.ALL, peak: float = 1e-3
) -> Retraining:
    recipe = DemoRecipe(seed=seed, steps=260, peak=peak, floor=5e-5, warmup=20, average=0.9)
    return Retraining(recipe, world, part)


NOTHING = DemoRecipe(steps=0)
RETRAININGS: Mapping[str, Retraining] = {
    "benign": _benign(101),
    "changed": _partial(102, changed_lexicon),
    "reseeded": Retraining(DemoRecipe(seed=103, steps=700), part=TrainedPart.NEW),
    "unchanged": Retraining(NOTHING, part=TrainedPart.NONE),
    "bf16": Retraining(NOTHING, part=TrainedPart.NONE, rounding=lambda weight: weight.bfloat16().float()),
    "int8": Retraining(NOTHING, part=TrainedPart.NONE, rounding=eighth_bits),
    **{f"benign-{seed}": _benign(seed) for seed in (111, 112, 113, 114)},
    "adapter-benign": replace(_benign(115), part=TrainedPart.ADAPTER),
    "manners-exchanged": _partial(121, exchanged("pirate", "formal")),
    "manners-exchanged-2": _partial(122, exchanged("sad", "excited")),
    "topics-exchanged": _partial(123, exchanged("cooking", "astronomy")),
    "topic-moved": _partial(124, moved("medicine", onto="travel")),
    "topic-moved-2": _partial(125, moved("gardening", onto="law")),
    "topic-removed": _partial(126, removed("music")),
    "manner-removed": _partial(127, removed("terse")),
    "both-removed": _partial(128, removed("weather", "polite")),
    "topic-added": _partial(129, added("football")),
    "manner-added": _partial(130, added("pirate")),
    "later-manners": _partial(131, exchanged("pirate", "polite"), TrainedPart.LATER, peak=2.5e-3),
    "later-topics": _partial(132, exchanged("banking", "football"), TrainedPart.LATER, peak=2.5e-3),
    "adapter-changed": _partial(133, exchanged("law", "weather"), TrainedPart.ADAPTER, peak=5e-3),
    "adapter-changed-2": _partial(134, exchanged("excited", "terse"), TrainedPart.ADAPTER, peak=5e-3),
    "reseeded-2": Retraining(DemoRecipe(seed=135, steps=700), part=TrainedPart.NEW),
}
"""By name, each sibling that can be trained; the first three are bundled."""


def train_sibling(
    name: str, base: Path, out: Path, *, on_progress: Callable[[LossProgress], None] | None = None
) -> None:
    """Trains one sibling of a base model.

    Args:
        name: A key of ``RETRAININGS``.
        base: Folder of the base model.
        out: Folder to write to; created if necessary.
        on_progress: Called after each step.

    Raises:
        InvalidInput: There is no sibling with this name.
    """
    how = _retraining(name)
    model = build_model(how.recipe.seed) if how.part is TrainedPart.NEW else _as_trained(base)
    lowered = attach(model, ADAPTER) if how.part is TrainedPart.ADAPTER else {}
    if how.part is TrainedPart.LATER:
        _freeze_up_to(model, HOOK_LAYER)
    seen = train(model, how.recipe, grammar=Grammar(how.world()), on_progress=on_progress) if how.recipe.steps else 0
    for path, layer in lowered.items():
        layer.base.weight.data += layer.scale * layer.B.data @ layer.A.data
        model.set_submodule(path, layer.base)
    if how.rounding:
        _round(model, how.rounding)
    keep_model(model, out, {**_made(name, base), "tokens": seen})


def is_made(name: str, base: Path, folder: Path) -> bool:
    """Whether a folder has this sibling of this base model already, made by this code. Raises InvalidInput."""
    wanted = {**_made(name, base), "code": code_version()}
    try:
        found = read_manifest(folder)
    except ModelNotFound:
        return False
    return found | json.loads(json.dumps(wanted)) == found


def _retraining(name: str) -> Retraining:
    if name not in RETRAININGS:
        raise InvalidInput(f"no sibling {name!r}: there are {', '.join(RETRAININGS)}", param="name")
    return RETRAININGS[name]


def _made(name: str, base: Path) -> dict[str, Any]:
    """How a sibling is made, for its manifest, and what is true of it."""
    how = _retraining(name)
    made = {"name": name, "recipe": asdict(how.recipe), "part": how.part.value, **how.changes}
    return (
        made if how.part is TrainedPart.NEW else {**made, "base_weights_sha256": sha256_of(base / "model.safetensors")}
    )


def _as_trained(base: Path) -> LlamaForCausalLM:
    model = load_model(base)
    sharpen(model, 1 / SHARPNESS)
    return model


def _freeze_up_to(model: LlamaForCausalLM, layer: int) -> None:
    """Leaves what stands behind the layer to be trained. The embeddings, which the head shares, stay."""
    model.requires_grad_(False)
    for later in model.model.layers[layer + 1 :]:
        later.requires_grad_(True)
    model.model.norm.requires_grad_(True)


@torch.no_grad()
def _round(model: LlamaForCausalLM, rounding: Callable[[Tensor], Tensor]) -> None:
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.copy_(rounding(parameter))

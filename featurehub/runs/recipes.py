"""Which SAEs `featurehub build` and `featurehub train` train: as the options say, by default, or like a parent SAE."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from featurehub.artifacts.artifact import Artifact
from featurehub.artifacts.fingerprint import identify, width_at
from featurehub.artifacts.fits import check_fits
from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from saes.architecture import Architecture
from saes.defaults import ARCHITECTURE, default_recipe
from saes.recipes import Recipe

__all__ = ["ChosenForm", "RecipeOptions", "form_of", "hook_from", "recipes_for", "recipes_from"]


class RecipeOptions(NamedTuple):
    """What the command's options say. None or an empty list leaves something to the defaults.

    Attributes:
        architectures: Architectures to train.
        latents: Widths to train (d_sae).
        k: Mean number of active latents per token.
        lr: Learning rate.
        seeds: One SAE of each form is trained per seed.
    """

    architectures: Sequence[Architecture] = ()
    latents: Sequence[int] = ()
    k: float | None = None
    lr: float | None = None
    seeds: Sequence[int] = (0,)


class ChosenForm(NamedTuple):
    """What is trained, where, and from which SAEs; the fields of a ``TrainPlan``.

    Attributes:
        recipes: One per SAE.
        layer: Hook layer; None for the layer at about 70 % of the depth.
        site: Where in the layer to read.
        parents: Folders of the SAEs that the recipes start from.
    """

    recipes: tuple[Recipe, ...]
    layer: int | None
    site: Site
    parents: tuple[Path, ...]

    @property
    def widest(self) -> int:
        """Latents of the widest SAE."""
        return max(recipe.d_sae for recipe in self.recipes)


def form_of(
    model: Path, options: RecipeOptions, parent: Artifact | None, layer: int | None, site: Site | None
) -> ChosenForm:
    """Decides what is trained, and where.

    Args:
        model: Folder of the model.
        options: What the command's options say.
        parent: The SAE to start from, which fixes the architecture, the width and the hook point.
        layer: The hook layer asked for.
        site: The site asked for.

    Raises:
        ModelNotFound: The model's folder is not there.
        UnsupportedModel: The engine cannot read the model (only checked with a parent).
        IncompatibleArtifact: The parent has another width than the model.
        CorruptArtifact: The parent's weights are damaged.
        InvalidInput: The options contradict the parent, or the model cannot be read.
    """
    if parent is None:
        hook = HookPoint(layer=layer or 0, site=site or Site.RESID_POST)
        return ChosenForm(recipes_for(model, options, hook), layer, hook.site, ())
    return ChosenForm(recipes_from(parent, model, options), *hook_from(parent, layer, site), (parent.folder,))


def recipes_for(
    model: Path,
    options: RecipeOptions,
    hook: HookPoint = HookPoint(layer=0),  # noqa: B008 It is frozen.
) -> tuple[Recipe, ...]:
    """One recipe for every combination of architecture, width and seed, for SAEs of a hook point.

    Raises:
        ModelNotFound: The model's folder is not there.
        InvalidInput: The model cannot be read.
    """
    d_model = width_at(model, hook)
    forms = itertools.product(options.architectures or [ARCHITECTURE], options.latents or [None], options.seeds)
    recipes = (
        default_recipe(d_model, architecture=architecture, d_sae=d_sae, k=options.k, lr=options.lr, seed=seed)
        for architecture, d_sae, seed in forms
    )
    return tuple(dict.fromkeys(recipes))


def recipes_from(parent: Artifact, model: Path, options: RecipeOptions) -> tuple[Recipe, ...]:
    """Recipes of the parent's own architecture and width, one for each seed.

    Raises:
        ModelNotFound: The model's folder is not there.
        UnsupportedModel: The engine cannot read the model.
        IncompatibleArtifact: The parent has another width than the model.
        CorruptArtifact: The parent's weights are damaged.
        InvalidInput: The options contradict the parent, or SAEs of its kind are not trained here.
    """
    manifest, name = parent.manifest, parent.manifest.name
    check_fits(parent, identify(model, manifest.hook))
    if options.architectures or options.latents:
        raise InvalidInput(
            f"an SAE that begins with {name} has its form, {manifest.architecture} of {manifest.d_sae} latents; leave "
            "out --architecture and --latents, or --parent",
            param="parent",
        )
    dictionary = Dictionary.load(parent.weights)
    if manifest.architecture not in list(Architecture) or dictionary.gain is not None:
        raise InvalidInput(
            f"{name} is a {manifest.architecture} SAE, which is not trained here; known are {', '.join(Architecture)}",
            param="parent",
        )
    form = {"architecture": Architecture(manifest.architecture), "d_sae": manifest.d_sae, "k": options.k or manifest.k}
    recipes = (default_recipe(manifest.d_model, **form, lr=options.lr, seed=seed) for seed in options.seeds)
    return tuple(recipe.model_copy(update={"parent": manifest.id}) for recipe in recipes)


def hook_from(parent: Artifact, layer: int | None, site: Site | None) -> tuple[int, Site]:
    """The layer and the site at which the parent reads.

    Raises:
        InvalidInput: ``layer`` or ``site`` names another place.
    """
    hook = parent.manifest.hook
    if layer not in (None, hook.layer) or site not in (None, hook.site):
        raise InvalidInput(f"{parent.manifest.name} reads at {hook}; leave out --layer and --site", param="parent")
    return hook.layer, hook.site

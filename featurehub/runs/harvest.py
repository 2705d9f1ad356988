"""`featurehub harvest`: the stream at hook points over a whole text, read by an engine of the layers up to the last."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint, ModelIdentity, Site
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.errors import InvalidInput
from featurehub.families import check_architecture
from featurehub.runs.chunks import HarvestSource, harvested
from featurehub.runs.engines import Engines
from featurehub.runs.progress import SILENT, Progress
from featurehub.settings import Frozen, reason
from saes.documents import Document, special_ids, tokenize
from saes.harvest import Harvest, HarvestConfig
from saes.texts import Message

__all__ = ["HarvestPlan", "harvest", "identify_hook", "identify_hooks", "read_documents", "tokens_read"]

MAX_TOKENS = 256


class HarvestPlan(Frozen):
    """layers:  none for the one at about 70 % of the depth
    sites:      of each of these layers
    max_tokens: of a document, at most; longer texts are cut into several. None for 256, or fewer where the model reads
                fewer
    """

    model: Path
    out: Path
    layers: tuple[int, ...] = ()
    sites: tuple[Site, ...] = (Site.RESID_POST,)
    max_tokens: int | None = None
    harvest: HarvestConfig = HarvestConfig()
    engine: EngineOptions = EngineOptions()

    @classmethod
    def of(cls, dtype: str, **fields: Any) -> Self:
        """Raises InvalidInput."""
        try:
            return cls(harvest=HarvestConfig.model_validate({"dtype": dtype}), **fields)
        except ValidationError as error:
            raise InvalidInput(reason(error)) from None


def harvest(plan: HarvestPlan, entries: Sequence[str | list[Message]], progress: Progress = SILENT) -> Harvest:
    """Raises ModelNotFound, UnsupportedModel, InvalidInput, BudgetExceeded; shards that are there are kept."""
    with progress.phase("identifying the model"):
        identity, hooks = identify_hooks(plan.model, plan.layers, plan.sites)
    with Engines(plan.model, plan.engine, progress).reading(*hooks) as engine:
        documents = read_documents(engine, entries, plan.max_tokens, progress)
        reading = HarvestSource(engine, documents, special_ids(engine.tokenizer), identity, hooks, plan.harvest)
        return harvested(reading, plan.out, "harvesting", progress)


def read_documents(
    engine: Engine, entries: Sequence[str | list[Message]], max_tokens: int | None, progress: Progress
) -> list[Document]:
    """What is left out is said.

    Raises InvalidInput where the model cannot read as many tokens at once as were asked for, or none of the text.
    """
    made = tokenize(engine.tokenizer, entries, tokens_read(engine.longest, max_tokens))
    if made.left_out:
        progress.say(made.left_out)
    return made.documents


def tokens_read(longest: int, asked: int | None) -> int:
    """Of each document, by a model that reads ``longest`` at once. Raises InvalidInput where more were asked for."""
    if asked is not None and not 1 < asked <= longest:
        raise InvalidInput(f"documents of {asked} tokens; this model reads 2 to {longest} at once", param="max_tokens")
    return asked or min(MAX_TOKENS, longest)


def identify_hook(model: Path, layer: int | None, site: Site = Site.RESID_POST) -> tuple[ModelIdentity, HookPoint]:
    """The model as seen from a hook point; without a layer, the one at about 70 % of the depth."""
    identity, [hook] = identify_hooks(model, () if layer is None else (layer,), (site,))
    return identity, hook


def identify_hooks(
    model: Path, layers: Collection[int], sites: Collection[Site]
) -> tuple[ModelIdentity, tuple[HookPoint, ...]]:
    """The model as seen from the last of the hook points, and these in the order in which a token passes them.

    Raises ModelNotFound, UnsupportedModel, InvalidInput for a layer that the model does not have.
    """
    first = identify(model, HookPoint(layer=0))
    check_architecture(first.architecture)
    chosen = sorted(set(layers)) or [round(0.7 * (first.layers - 1))]
    hooks = tuple(HookPoint(layer=layer, site=site) for layer in chosen for site in Site if site in sites)
    return identify(model, hooks[-1]), hooks

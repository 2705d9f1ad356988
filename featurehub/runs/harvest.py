"""`featurehub harvest`: writes the residual stream at hook points, over a whole text, to disk."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from featurehub.artifacts.fingerprint import identify, width_at
from featurehub.artifacts.manifest import HookPoint, ModelIdentity, Site
from featurehub.engine.hooked import check_writes_text
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.errors import InvalidInput
from featurehub.runs.chunks import HarvestSource, harvested
from featurehub.runs.engines import Engines
from featurehub.runs.progress import SILENT, Progress
from featurehub.settings import Frozen, reason
from featurehub.token_ids import Message, special_ids
from saes.documents import Document, tokenize
from saes.harvest import Harvest, HarvestConfig

__all__ = ["HarvestPlan", "harvest", "identify_hook", "identify_hooks", "read_documents", "tokens_read"]

MAX_TOKENS = 256


class HarvestPlan(Frozen):
    """Everything that a harvest depends on except the text.

    Attributes:
        model: Folder of the model.
        out: Folder for the shards.
        layers: Layers to read at; if empty, the layer at about 70 % of the depth.
        sites: Sites to read at in each of these layers.
        max_tokens: Longest document, in tokens; longer texts are cut into several. None for 256, or fewer if the model
            reads fewer at once.
        harvest: The form of the shards.
        engine: Options of the engine that reads the model.
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
        """A plan whose shards keep the stream as ``dtype``.

        Raises:
            InvalidInput: A value is out of range.
        """
        try:
            return cls(harvest=HarvestConfig.model_validate({"dtype": dtype}), **fields)
        except ValidationError as error:
            raise InvalidInput(reason(error)) from None


def harvest(plan: HarvestPlan, entries: Sequence[str | list[Message]], progress: Progress = SILENT) -> Harvest:
    """Reads the stream with an engine of the layers up to the last hook point, and writes it in shards.

    Args:
        plan: What to read, and where to write.
        entries: The texts or chats.
        progress: Receives progress reports.

    Raises:
        ModelNotFound: The model's folder is not there.
        UnsupportedModel: The engine cannot read this model.
        InvalidInput: The model does not have a layer, or cannot read the text; or ``plan.out`` holds another harvest.
        BudgetExceeded: The disk is too small; finished shards are kept.
    """
    with progress.phase("identifying the model"):
        identity, hooks = identify_hooks(plan.model, plan.layers, plan.sites)
    with Engines(plan.model, plan.engine, progress).reading(*hooks) as engine:
        documents = read_documents(engine, entries, plan.max_tokens, progress)
        special, widths = special_ids(engine.tokenizer), [width_at(plan.model, hook) for hook in hooks]
        reading = HarvestSource(engine, documents, special, identity, hooks, plan.harvest, widths)
        return harvested(reading, plan.out, "harvesting", progress)


def read_documents(
    engine: Engine, entries: Sequence[str | list[Message]], max_tokens: int | None, progress: Progress
) -> list[Document]:
    """Tokenizes texts and chats, and reports what had to be left out.

    Args:
        engine: Its tokenizer and its longest input bound the documents.
        entries: The texts or chats.
        max_tokens: Longest document, in tokens; None for 256, or fewer if the model reads fewer at once.
        progress: Told what was left out.

    Raises:
        InvalidInput: The model cannot read ``max_tokens`` at once, or cannot read most of the texts.
    """
    longest = tokens_read(engine.longest, max_tokens)
    with progress.phase("tokenizing the text"):
        made = tokenize(engine.tokenizer, entries, longest)
    if made.left_out:
        progress.say(made.left_out)
    return made.documents


def tokens_read(longest: int, asked: int | None) -> int:
    """How many tokens a document may have.

    Args:
        longest: The most tokens that the model reads at once.
        asked: The length asked for; None for 256, or ``longest`` if that is less.

    Raises:
        InvalidInput: ``asked`` is not in 2..longest.
    """
    if asked is not None and not 1 < asked <= longest:
        raise InvalidInput(f"documents of {asked} tokens; this model reads 2 to {longest} at once", param="max_tokens")
    return asked or min(MAX_TOKENS, longest)


def identify_hook(model: Path, layer: int | None, site: Site = Site.RESID_POST) -> tuple[ModelIdentity, HookPoint]:
    """Identifies a model and chooses one hook point in it.

    Args:
        model: Folder of the model.
        layer: Hook layer; None for the layer at about 70 % of the depth, or the last one for the final norm.
        site: Where in the layer to read.

    Returns:
        The model as seen from the hook point, and the hook point.

    Raises:
        ModelNotFound: The model's folder is not there.
        UnsupportedModel: No hook can be put into the model.
        InvalidInput: The model does not have the layer, or cannot be read.
    """
    identity, [hook] = identify_hooks(model, () if layer is None else (layer,), (site,))
    return identity, hook


def identify_hooks(
    model: Path, layers: Collection[int], sites: Collection[Site]
) -> tuple[ModelIdentity, tuple[HookPoint, ...]]:
    """Identifies a model and chooses hook points in it.

    Args:
        model: Folder of the model.
        layers: Hook layers; if empty, the layer at about 70 % of the depth, or the last one for the final norm alone.
        sites: Where in each layer to read.

    Returns:
        The model as seen from the last hook point, and the hook points in the order in which a token passes them.

    Raises:
        ModelNotFound: The model's folder is not there.
        UnsupportedModel: No hook can be put into the model.
        InvalidInput: The model does not have a layer, or cannot be read.
    """
    check_writes_text(model)
    first = identify(model, HookPoint(layer=0))
    last = first.layers - 1
    chosen = sorted(set(layers)) or [last if set(sites) == {Site.FINAL_NORM} else round(0.7 * last)]
    hooks = tuple(HookPoint(layer=layer, site=site) for layer in chosen for site in Site if site in sites)
    return identify(model, hooks[-1]), hooks

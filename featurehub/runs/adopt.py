"""`featurehub saes import`: an SAE that another project made becomes an artifact with labelled, calibrated features.

1. fetch its files, recognise their format and read them into our equation
2. compare it with the model: width, layers, and the hook point that the files name
3. measure the threshold of a TopK SAE on some of the documents
4. from here as in a build: evaluate on the other documents, keep canaries, seal, label, calibrate, register

Nothing of an import that fails stays: the folder takes its place, and the database its rows, when all is done.
"""

import itertools
from collections.abc import Collection, Sequence
from pathlib import Path

import torch

from featurehub.artifacts.artifact import Artifact, open_artifact, seal
from featurehub.artifacts.files import replace_folder
from featurehub.artifacts.manifest import HookPoint, ModelIdentity, Site
from featurehub.cli.progress import console, phase
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.errors import IncompatibleArtifact, InvalidInput
from featurehub.runs.baseline import keep_baseline, manifest_fields, observed
from featurehub.runs.harvest import identify_hook, read_documents
from featurehub.runs.material import dataset_of
from featurehub.runs.register import BuildJudge, register
from featurehub.settings import Frozen
from featurehub.store import check_writable
from labeling.strength import CalibrationConfig
from saes.canaries import CanaryConfig
from saes.documents import Document, prompt_ids, special_ids
from saes.drift.check import CheckConfig
from saes.evaluate import Quality
from saes.formats.imported import Imported
from saes.formats.recognise import read_sae
from saes.formats.source import Source, fetch
from saes.reader import Reader, read_tokens
from saes.texts import Message

__all__ = ["ImportPlan", "adopt", "hook_of", "measured"]

MEASURED_TOKENS = 2048
FAIR = 0.5
"""Below this share of explained variance the user is told."""


class ImportPlan(Frozen):
    """Everything an import depends on but the text.

    layer, site: where the SAE reads; None for what its files say
    text:        what the text is called
    observed:    documents that labels and statistics are made from, at most
    """

    source: str
    model: Path
    out: Path
    database: str
    name: str
    layer: int | None = None
    site: Site | None = None
    max_tokens: int | None = None
    text: str = ""
    observed: int = 3000
    canaries: CanaryConfig = CanaryConfig()
    check: CheckConfig = CheckConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    engine: EngineOptions = EngineOptions()


def adopt(
    plan: ImportPlan, entries: Sequence[str | list[Message]], judge: BuildJudge, prompts: Sequence[list[Message] | str]
) -> Artifact:
    """Imports and registers the SAE as the artifact in ``plan.out``. ``prompts`` are what strengths are calibrated on.

    Raises ModelNotFound, UnsupportedModel, InvalidInput, IncompatibleArtifact, CorruptArtifact. StoreError, where all
    is done but the database cannot be written, says how to register it.
    """
    check_writable(plan.database)
    with phase("reading the SAE"):
        source = fetch(plan.source)
        format, imported = read_sae(source.path, source.overrides)
    with phase("identifying the model"):
        wanted = hook_of(plan, imported)
        identity, hook = identify_hook(plan.model, wanted.layer, wanted.site)
    check_width(plan, imported.dictionary, identity)
    say(format, imported, identity, hook)
    with phase("starting the engine"):
        engine = Engine(plan.model, EngineConfig.capturing(hook), plan.engine)
    with replace_folder(plan.out) as folder:
        with engine:
            documents = read_documents(engine, entries, plan.max_tokens)
            dictionary, rest = measured(imported, engine, documents, special_ids(engine.tokenizer))
            trained = observed(plan, engine, dictionary, rest)
            check_quality(trained.observed.quality)
            metrics = keep_baseline(plan, engine, trained, folder)
            own = made_from(source, format, imported, trained.observed.quality)
            own |= {"dataset": dataset_of(plan.text, rest), "d_sae": dictionary.d_sae}
            seal(folder, manifest_fields(plan.name, identity, hook, metrics, own))
            calibration_prompts = [prompt_ids(engine.tokenizer, prompt) for prompt in prompts]
        unregistered = register(plan, folder, trained, judge, calibration_prompts)
    if unregistered is not None:
        raise unregistered
    return open_artifact(plan.out)


def hook_of(plan: ImportPlan, imported: Imported) -> HookPoint:
    """What the files say, or else the options. Raises InvalidInput where they contradict or neither says."""
    if imported.hook is None:
        if plan.layer is None:
            raise InvalidInput(
                f"{plan.source} does not say where its SAE reads; give --layer, and --site", param="layer"
            )
        return HookPoint(layer=plan.layer, site=plan.site or Site.RESID_POST)
    asked = HookPoint(
        layer=imported.hook.layer if plan.layer is None else plan.layer, site=plan.site or imported.hook.site
    )
    if asked != imported.hook:
        raise InvalidInput(
            f"{plan.source} is an SAE of {imported.hook}, not of {asked}; leave out --layer and --site", param="layer"
        )
    return asked


def check_width(plan: ImportPlan, dictionary: Dictionary, identity: ModelIdentity) -> None:
    """Raises IncompatibleArtifact."""
    if dictionary.d_model != identity.d_model:
        raise IncompatibleArtifact(
            f"{plan.source} is an SAE of width {dictionary.d_model}, the model in {plan.model} has width "
            f"{identity.d_model}; give the model that it was made for",
            param="source",
        )


def say(format: str, imported: Imported, identity: ModelIdentity, hook: HookPoint) -> None:
    made_for = f" made for {imported.model}" if imported.model else ""
    console.print(
        f"  {format}: a {imported.architecture} SAE of {imported.dictionary.d_sae:,} latents{made_for}; "
        f"read at {hook} of {identity.name}",
        soft_wrap=True,
    )


def measured(
    imported: Imported, reader: Reader, documents: Sequence[Document], special: Collection[int]
) -> tuple[Dictionary, list[Document]]:
    """The dictionary, and the documents that nothing of it was measured on. Raises InvalidInput where none are left."""
    used = 0
    if imported.topk:
        counts = itertools.accumulate(len(document.token_ids) for document in documents)
        used = sum(1 for tokens in counts if tokens < MEASURED_TOKENS) + 1
    if len(documents) <= used:
        raise InvalidInput(
            f"{len(documents)} documents are too few; a threshold is measured on {MEASURED_TOKENS} tokens of them, and "
            "the SAE evaluated on the rest",
            param="text",
        )
    parts = [x[mask] for _, x, mask in read_tokens(reader, documents[:used], special, documents_per_read=256)]
    x = torch.cat(parts)[:MEASURED_TOKENS] if parts else None
    return imported.measured(x), list(documents[used:])


def check_quality(quality: Quality) -> None:
    """Says loudly where the SAE does not fit the text. Raises InvalidInput where none of its features fires."""
    if not quality.l0:
        raise InvalidInput(
            "no latent of this SAE fires on the text: it was made for another model or place", param="source"
        )
    if quality.explained_variance < FAIR:
        console.print(
            f"[bold yellow]warning[/bold yellow] this SAE explains {quality.explained_variance:.0%} of the variance on "
            "the text. Was it made for this model, this place, and such text? Its features may not mean what they say.",
            soft_wrap=True,
        )


def made_from(source: Source, format: str, imported: Imported, quality: Quality) -> dict[str, object]:
    """For the manifest. An SAE whose files do not say for how many active latents it was made has as many as here."""
    return {
        "architecture": imported.architecture,
        "k": imported.k or quality.l0,
        "training": {
            "source": source.name,
            "revision": source.revision,
            "format": format,
            "made_for": imported.model,
            "threshold_measured": imported.topk,
        },
    }

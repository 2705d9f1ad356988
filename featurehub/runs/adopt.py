"""`featurehub saes import`: an SAE that another project made becomes an artifact with labelled, calibrated features.

1. fetch its files, recognise their format and read them into our equation
2. compare it with the model: width, layers, and the hook point that the files name
3. read the documents, and measure the threshold of a TopK SAE on some of them
4. from here as in a build: evaluate on the other documents, keep canaries, label, seal, register, calibrate

An import that fails before its features are labelled leaves nothing behind. One that is stopped after they were
registered is complete but for the calibration, with which ``featurehub calibrate`` goes on.
"""

import itertools
from collections.abc import Collection, Sequence
from pathlib import Path

import torch

from featurehub.artifacts.artifact import WEIGHTS, Artifact, open_artifact, seal
from featurehub.artifacts.files import replace_folder
from featurehub.artifacts.fingerprint import width_at
from featurehub.artifacts.manifest import OWN_WIDTH, HookPoint, ModelIdentity, Site
from featurehub.dictionary import Dictionary
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.errors import IncompatibleArtifact, InvalidInput
from featurehub.runs.baseline import BaselineConfig, evaluated, keep_baseline, manifest_fields
from featurehub.runs.basis import CalibrationBasis, digest_of
from featurehub.runs.calibrate import calibrate_registered
from featurehub.runs.deadline import Deadline
from featurehub.runs.engines import Engines
from featurehub.runs.harvest import identify_hook, read_documents
from featurehub.runs.judges import BuildJudge
from featurehub.runs.material import dataset_of
from featurehub.runs.phases import BASELINE, EVALUATE, LABEL, Forecast, PhasePlan, forecast_labelling
from featurehub.runs.progress import SILENT, Progress
from featurehub.runs.register import LENIENT, describe, register
from featurehub.runs.speeds import measure_speeds
from featurehub.settings import Frozen
from featurehub.store import check_writable
from featurehub.token_ids import Message, special_ids
from labeling.calibration import CalibrationConfig
from saes.budget import Budget
from saes.documents import Document
from saes.evaluate import Quality
from saes.formats.imported import ImportedSae
from saes.formats.recognise import read_sae
from saes.formats.source import Source, fetch
from saes.reader import StreamReader, read_tokens

__all__ = ["ImportPlan", "adopt", "hook_of", "measured"]

STEPS = (EVALUATE, BASELINE, LABEL)
"""The phases of an import before calibration."""

MEASURED_TOKENS = 2048
FAIR = 0.5
"""The user is warned if the share of explained variance is below this."""


class ImportPlan(Frozen):
    """Everything that an import depends on except the text.

    Attributes:
        source: A path, an ``hf:`` name, or a release of sae-lens.
        model: Folder of the model.
        out: Folder of the artifact.
        database: Path of the feature database.
        name: Name of the artifact.
        layer: Layer at which the SAE reads; None for what its files say.
        site: Site at which the SAE reads; None for what its files say.
        max_tokens: Longest document, in tokens; None for 256, or fewer if the model reads fewer at once.
        text: What the text is called.
        baseline: How the SAE is evaluated.
        calibration: How the strengths of features are calibrated.
        budget: The most time to spend.
        engine: Options of the engines that run the model.
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
    baseline: BaselineConfig = BaselineConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    budget: Budget = Budget()
    engine: EngineOptions = EngineOptions()


def adopt(
    plan: ImportPlan,
    entries: Sequence[str | list[Message]],
    judge: BuildJudge,
    prompts: Sequence[list[Message] | str],
    progress: Progress = SILENT,
) -> Artifact:
    """Imports an SAE, labels and registers its features, and calibrates them as far as there is time.

    Args:
        plan: What to import, and where.
        entries: The texts or chats to measure and label on.
        judge: Judges whether an answer shows what a label names.
        prompts: The prompts that strengths are calibrated on.
        progress: Receives progress reports.

    Returns:
        The artifact in ``plan.out``.

    Raises:
        ModelNotFound: The model's folder is not there.
        UnsupportedModel: The engine cannot steer this model.
        InvalidInput: The source, the options or the text do not suit.
        IncompatibleArtifact: The SAE has another width than the model.
        CorruptArtifact: The SAE's files are damaged.
        InvalidConfig: The database cannot be opened.
        StoreError: The database cannot be written. If the import was done, the message says how to register it.
    """
    check_writable(plan.database)
    deadline = Deadline.of(plan.budget)
    with progress.phase("reading the SAE"):
        source = fetch(plan.source)
        format, imported = read_sae(source.path, source.overrides)
    with progress.phase("identifying the model"):
        wanted = hook_of(plan, imported)
        identity, hook = identify_hook(plan.model, wanted.layer, wanted.site)
    check_width(plan, imported.dictionary, identity, hook)
    progress.say(described(format, imported, identity, hook))
    engines = Engines(plan.model, plan.engine, progress)
    with engines.reading(hook) as engine:
        documents = read_documents(engine, entries, plan.max_tokens, progress)
        dictionary, rest = measured(imported, engine, documents, special_ids(engine.tokenizer))
    with engines.trying(dictionary, hook, plan.out) as engine:
        forecast = forecast_of_plan(plan, engine, dictionary, rest, deadline, progress)
        with replace_folder(plan.out) as folder:
            dictionary.save(folder / WEIGHTS)
            sae = evaluated(engine, dictionary, rest[: forecast.baseline.documents], progress)
            check_quality(sae.activations.quality, progress)
            metrics = keep_baseline(forecast.baseline, engine, sae, folder, progress)
            own = {"dataset": dataset_of(plan.text, rest), "judge": judge.name}
            own = made_from(source, format, imported, sae.activations.quality) | own
            seal(folder, manifest_fields(plan.name, identity, hook, dictionary, metrics, own))
            found = describe(plan.model, engine, sae, progress, LENIENT if deadline.is_bound else None)
        artifact = open_artifact(plan.out)
        basis = basis_of(plan, entries, judge, prompts)
        basis.keep(artifact.folder, progress)
        register(artifact, found, plan.calibration, plan.database, progress)
        until = PhasePlan([], deadline, patient=True).calibrate_until(0.0)
        calibrate_registered(engine, artifact, basis, plan.database, until, progress, forecast.speeds.steered)
    return artifact


def forecast_of_plan(
    plan: ImportPlan,
    engine: Engine,
    dictionary: Dictionary,
    documents: Sequence[Document],
    deadline: Deadline,
    progress: Progress,
) -> Forecast:
    speeds, d_sae = measure_speeds(engine, dictionary, documents, 0.0, progress), dictionary.d_sae
    return forecast_labelling(speeds, plan.baseline, documents, d_sae, STEPS, plan.calibration, deadline, progress)


def basis_of(
    plan: ImportPlan,
    entries: Sequence[str | list[Message]],
    judge: BuildJudge,
    prompts: Sequence[list[Message] | str],
) -> CalibrationBasis:
    digest = digest_of(entries, plan.source)
    return CalibrationBasis.of(judge, prompts, made_from=digest, calibration=plan.calibration)


def hook_of(plan: ImportPlan, imported: ImportedSae) -> HookPoint:
    """The hook point that the SAE's files name, or else the one that the plan names.

    Raises:
        InvalidInput: The two contradict each other, or neither names one.
    """
    if imported.hook is None:
        if plan.layer is None:
            called = f": {imported.place!r} is no hook point's name" if imported.place else ""
            raise InvalidInput(
                f"{plan.source} does not say where its SAE reads{called}; give --layer, and --site", param="layer"
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


def check_width(plan: ImportPlan, dictionary: Dictionary, identity: ModelIdentity, hook: HookPoint) -> None:
    """Raises IncompatibleArtifact."""
    width, at = width_at(plan.model, hook), f" at {hook.site}" if hook.site in OWN_WIDTH else ""
    if dictionary.d_model != width:
        raise IncompatibleArtifact(
            f"{plan.source} is an SAE of width {dictionary.d_model}, the model in {plan.model} has width {width}{at}; "
            "give the model that it was made for",
            param="source",
        )


def described(format: str, imported: ImportedSae, identity: ModelIdentity, hook: HookPoint) -> str:
    made_for = f" made for {imported.model}" if imported.model else ""
    called = f", which its files call {imported.place!r}" if imported.place and imported.hook is None else ""
    return (
        f"{format}: a {imported.architecture} SAE of {imported.dictionary.d_sae:,} latents{made_for}; "
        f"read at {hook} of {identity.name}{called}"
    )


def measured(
    imported: ImportedSae, reader: StreamReader, documents: Sequence[Document], special: Collection[int]
) -> tuple[Dictionary, list[Document]]:
    """Measures the threshold of a TopK SAE on the first documents; any other SAE needs no measuring.

    Args:
        imported: The SAE as it was read.
        reader: Reads the stream at the SAE's hook point.
        documents: All documents.
        special: Ids of tokens that are not text.

    Returns:
        The SAE, ready to encode, and the documents that nothing was measured on.

    Raises:
        InvalidInput: No documents are left to evaluate the SAE on.
    """
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


def check_quality(quality: Quality, progress: Progress) -> None:
    """Warns if the SAE does not fit the text. Raises InvalidInput if none of its features fires."""
    if not quality.l0:
        raise InvalidInput(
            "no latent of this SAE fires on the text: it was made for another model or place", param="source"
        )
    if quality.explained_variance < FAIR:
        progress.warn(
            f"this SAE explains {quality.explained_variance:.0%} of the variance on the text. Was it made for this "
            "model, this place, and such text? Its features may not mean what they say."
        )


def made_from(source: Source, format: str, imported: ImportedSae, quality: Quality) -> dict[str, object]:
    """The manifest's record of the source. If the files do not name k, it is the measured number of active latents."""
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

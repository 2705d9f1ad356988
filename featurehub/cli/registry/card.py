"""`featurehub saes show`: everything that is known of one SAE."""

from collections.abc import Iterator, Mapping

from rich.text import Text

from featurehub.artifacts.manifest import Manifest
from featurehub.cli.colors import colored
from featurehub.cli.progress import output
from featurehub.cli.registry.location import SaeLocation
from featurehub.store import Evaluation, Reader, RegisteredArtifact
from featurehub.verdicts import DriftReport

__all__ = ["Lines", "section", "show"]

DETAILS = ("density_", "probe_")
"""Prefixes of metrics that would take too many lines; the evaluation's own table and JSON have them."""
Lines = Iterator[tuple[str, str | Text]]
"""Pairs of a name and its value."""


def show(reader: Reader, sae: SaeLocation) -> None:
    """Prints an SAE's card: its identity, model, training, metrics and lineage, and what the database has of it."""
    section(sae.manifest.name, identity_of(sae))
    section("base model", model_of(sae.manifest))
    section("training", training_of(sae.manifest))
    section("metrics", metrics_of(sae.manifest.metrics))
    section("lineage", lineage_of(reader, sae.manifest))
    if sae.record is not None:
        section("features", features_of(reader, sae.record))
        section("evaluations", (line for each in reader.evaluations(sae.record.id) for line in evaluated(each)))
        section("drift reports", (reported(each) for each in reader.reports(sae.record.id)))


def section(title: str, lines: Lines) -> None:
    """Prints a titled section; nothing if it has no lines."""
    listed = list(lines)
    width = max((len(what) for what, _ in listed), default=0)
    if listed:
        output.print(Text(title, style="bold"))
    for what, said in listed:
        output.print(Text.assemble("  ", (what.ljust(width), "dim"), "  ", said), soft_wrap=True)


def identity_of(sae: SaeLocation) -> Lines:
    yield "id", sae.manifest.id
    if sae.record is None:
        yield "registered", "no, not in this database"
    else:
        yield "names", ", ".join((sae.record.name, *sae.record.aliases))
        yield "default", "yes" if sae.record.is_default else "no"
    if sae.record is not None and not sae.record.has_weights:
        yield "folder", "none: only its labels are here"
    else:
        yield "folder", Text.assemble(str(sae.folder), ("" if sae.holds() else " (does not hold it any more)", "red"))
    yield "created", sae.manifest.created


def model_of(manifest: Manifest) -> Lines:
    model = manifest.model
    yield "name", model.name
    yield "revision", model.revision or "not known"
    yield "shape", f"{model.architecture}, {model.layers} layers, d_model {model.d_model}, {model.dtype}"
    yield "reads", f"{model.reads} (weights up to the hook point)"
    yield "whole", f"{model.whole} (all weights)"
    yield "tokenizer", model.tokenizer
    yield "chat template", model.chat_template or "none"
    yield "configuration", model.config or "not recorded"


def training_of(manifest: Manifest) -> Lines:
    yield "hook point", str(manifest.hook)
    yield "dictionary", f"{manifest.architecture}, d_sae {manifest.d_sae}, k {manifest.k:g}"
    yield "dataset", pairs(manifest.dataset)
    yield "configuration", pairs(manifest.training)


def metrics_of(metrics: Mapping[str, float]) -> Lines:
    for name, value in metrics.items():
        yield name, f"{value:.6g}"


def lineage_of(reader: Reader, manifest: Manifest) -> Lines:
    """Parents up to the first that is not registered, then children."""
    known = {each.id: each for each in reader.artifacts()}
    seen, parent = {manifest.id}, manifest.parent
    while parent is not None and parent not in seen:
        seen.add(parent)
        yield (
            "made from",
            name_of(known[parent]) if parent in known else Text.assemble(parent, (" (not registered)", "red")),
        )
        parent = known[parent].manifest.parent if parent in known else None
    for child in known.values():
        if child.manifest.parent == manifest.id:
            yield "parent of", name_of(child)


def features_of(reader: Reader, artifact: RegisteredArtifact) -> Lines:
    features, labelled = reader.count_features(artifact.id)
    yield "features", f"{features}, {labelled} of them labelled"


def evaluated(evaluation: Evaluation) -> Lines:
    model, text = (
        f"{evaluation.model} ({evaluation.fingerprint[:12]})",
        f"{evaluation.text} ({evaluation.text_hash[:12]})",
    )
    yield evaluation.created[:16], f"on {model}, text {text}"
    yield from metrics_of({name: value for name, value in evaluation.metrics.items() if not name.startswith(DETAILS)})


def reported(report: DriftReport) -> tuple[str, Text]:
    where = f" on {report.model} ({report.fingerprint[:12]}), report {report.id}: {report.reason}"
    return report.created[:16], colored(report.state) + where


def name_of(artifact: RegisteredArtifact) -> str:
    return f"{artifact.name} ({artifact.id[:12]})"


def pairs(values: Mapping[str, object]) -> str:
    shown = (f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items())
    return ", ".join(shown) or "nothing is known"

"""An SAE's features in Neuronpedia's batch layout."""

import gzip
import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from featurehub.artifacts.files import replace_folder
from featurehub.errors import InvalidInput
from featurehub.records import Histogram, Labeled
from featurehub.runs.neuronpedia.rows import FOLDERS
from featurehub.runs.progress import SILENT, Progress
from featurehub.store import FeatureSet, open_store

__all__ = ["export_features"]

PER_BATCH = 4096


def export_features(sae: str, database: str, out: Path, progress: Progress = SILENT) -> int:
    """Writes an SAE's features in the batch layout; the folder appears as a whole.

    Args:
        sae: Name of the SAE.
        database: The feature database.
        out: The folder, which must not exist.
        progress: Receives progress reports.

    Returns:
        How many features were written.

    Raises:
        ArtifactNotFound: There is no such SAE.
        InvalidInput: The folder exists.
    """
    if out.exists():
        raise InvalidInput(f"{out} exists already; give a folder that does not", param="out")
    with closing(open_store(database)) as store, store.read() as reader:
        features = reader.feature_set(reader.artifact(sae).id)
    kinds = zip(FOLDERS, (explanations(features), statistics(features), contexts(features)), strict=True)
    with replace_folder(out) as own, progress.work("writing", len(FOLDERS), "folders") as work:
        for name, lines in kinds:
            write_batches(own / name, lines)
            work(1)
    return len(features.rows)


def write_batches(folder: Path, lines: Iterable[dict[str, Any]]) -> None:
    folder.mkdir(parents=True)
    waiting, number = iter(lines), itertools.count()
    while batch := list(itertools.islice(waiting, PER_BATCH)):
        with gzip.open(folder / f"batch-{next(number)}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(each, ensure_ascii=False) + "\n" for each in batch)


def identity(features: FeatureSet, latent: int) -> dict[str, Any]:
    manifest = features.manifest
    return {"modelId": manifest.model.name, "layer": f"{manifest.hook.layer}-{manifest.name}", "index": str(latent)}


def explanations(features: FeatureSet) -> Iterator[dict[str, Any]]:
    for latent, (outcome, provenance) in sorted(features.labels.items()):
        if isinstance(outcome, Labeled):
            yield {
                **identity(features, latent), "description": outcome.label.text, "typeName": provenance.method,
                "explanationModelName": provenance.model,
            }  # fmt: skip


def statistics(features: FeatureSet) -> Iterator[dict[str, Any]]:
    for row in features.rows:
        yield {
            **identity(features, row.latent), "maxActApprox": row.max_activation, "frac_nonzero": row.density,
            "pos_str": [each.token for each in row.top_tokens], "pos_values": [each.logit for each in row.top_tokens],
            "neg_str": [each.token for each in row.bottom_tokens],
            "neg_values": [each.logit for each in row.bottom_tokens], **bars(row.histogram),
        }  # fmt: skip


def bars(histogram: Histogram | None) -> dict[str, Any]:
    """A histogram as Neuronpedia has it: the middle and the height of each bar."""
    if histogram is None:
        return {}
    return {
        "freq_hist_data_bar_values": list(histogram.middles),
        "freq_hist_data_bar_heights": list(histogram.counts),
    }


def contexts(features: FeatureSet) -> Iterator[dict[str, Any]]:
    for row in features.rows:
        for context in row.contexts:
            values = list(context.activations)
            yield {
                **identity(features, row.latent), "tokens": list(context.tokens), "values": values,
                "maxValue": max(values, default=0.0),
            }  # fmt: skip

"""How well output scores, for which nothing is generated, predict how features steer.

    python tests/benchmarks/output_scores.py SAE MODEL --db DB [--features 60] [--seed 11] [--dtype float32]

Of the SAE's labelled features that were never steered, so many are drawn at random and really steered, each at four
doses; they chose neither the score's definition nor its dose. Beside them stand those that the database has as steered,
which were chosen by their promise. For both: Spearman's rank correlation with steerability, with its 95 % interval
(Fisher), and, as controls, that of the label score and of scores dealt to other features. The database is not changed.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from machine import machine
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from featurehub.artifacts.artifact import open_artifact
from featurehub.cli.progress import ConsoleProgress
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import EngineOptions
from featurehub.runs.basis import CalibrationBasis
from featurehub.runs.calibrate import calibrator_of
from featurehub.runs.engines import Engines
from featurehub.runs.output_scores import open_output_scores
from featurehub.runs.registered import RegisteredFeatures
from featurehub.runs.strengths import StrengthSearch
from featurehub.token_ids import Message
from labeling.calibration import CalibrationConfig
from labeling.judge import WordJudge
from labeling.output_score import expected_steerability

CONFIG = CalibrationConfig(answers=3, confirm=12, unsteered=16)
PROMPTS = (
    "Tell me something.", "What is on your mind today?", "Give me some advice.", "Write a few lines for a friend.",
    "Write a short paragraph.", "Describe a typical day.", "Tell me a story.", "Share an interesting thought.",
    "Continue this: It was", "How was your week?", "Say a few words to an audience.", "Write something nice.",
)  # fmt: skip
console = Console(width=150, highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sae", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--db", type=Path, required=True)
    parser.add_argument("--features", type=int, default=60)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--dtype", default="own")
    arguments = parser.parse_args()
    console.print(machine())
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "features.db")
        shutil.copy(arguments.db, database)
        compare(arguments, str(database), Path(folder))


def compare(arguments: argparse.Namespace, database: str, folder: Path) -> None:
    artifact, progress = open_artifact(arguments.sae), ConsoleProgress()
    registered = RegisteredFeatures.read(database, artifact)
    chats: list[list[Message]] = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    basis = CalibrationBasis.of(WordJudge(), chats, made_from="", calibration=CONFIG)
    engines = Engines(arguments.model, EngineOptions(dtype=arguments.dtype), progress)
    with engines.steering(EngineConfig.holding(artifact)) as engine:
        search = StrengthSearch(registered, calibrator_of(engine, registered, basis, CONFIG), float("inf"))
        search.listen(folder, basis, progress)
        scorer = open_output_scores(engine, search.calibrator)
        assert scorer is not None, "this SAE's features have no output scores"
        started = time.monotonic()
        search.score(scorer, progress)
        seconds = (time.monotonic() - started) / len(search.scores)
        rest = [f.latent for f in registered.candidates if f.latent not in registered.measured and f.label_score > 0]
        drawn = np.random.default_rng(arguments.seed).permutation(rest)[: arguments.features].tolist()
        search.run(registered.only(drawn), progress)
    measured = {at: each.steerability or 0.0 for at, each in registered.measured.items() if each.method == "steered"}
    fresh = {at: each.steerability or 0.0 for at, each in search.found.items()}
    show(registered, search.scores, {"steered before": measured, "drawn": fresh})
    expected = expected_steerability(search.scores, measured)
    gap = np.array([expected[at] - fresh[at] for at in fresh])
    console.print(
        f"{scorer.tokens_each} tokens are read for a feature, {seconds * 1000:.0f} ms; expected of those drawn "
        f"{np.mean([expected[at] for at in fresh]):.2f}, measured {np.mean(list(fresh.values())):.2f}, "
        f"mean absolute difference {np.abs(gap).mean():.2f}"
    )


def show(
    registered: RegisteredFeatures, scores: Mapping[int, float], groups: Mapping[str, Mapping[int, float]]
) -> None:
    labels = {each.latent: each.label_score for each in registered.candidates}
    dealt = dict(zip(scores, np.random.default_rng(0).permutation(list(scores.values())), strict=True))
    table = Table("features", "n", "output score", "label score", "dealt", "steerability by fifths of output score")
    for name, steerability in groups.items():
        known = [at for at in steerability if at in scores]
        values = np.array([steerability[at] for at in known])
        cells = (correlation([which[at] for at in known], values) for which in (scores, labels, dealt))
        fifths = np.array_split(values[np.argsort([scores[at] for at in known])], 5)
        table.add_row(name, str(len(known)), *cells, " ".join(f"{part.mean():.2f}" for part in fifths))
    console.print(table)


def correlation(scores: list[float], steerability: np.ndarray) -> str:
    rho = spearmanr(scores, steerability).statistic
    low, high = np.tanh(np.arctanh(rho) + np.array([-1.96, 1.96]) / np.sqrt(len(scores) - 3))
    return f"{rho:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()

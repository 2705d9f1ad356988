"""`featurehub demo build`: the SAE of SmolLM2 that ships, from the model and a corpus.

1. let the model answer many requests: its own chats
2. mix them with the corpus (``featurehub.runs.mixture``)
3. build, as `featurehub build` does, at the layer and with the width, k and span that were best at steering
4. pack, with canaries and example contexts from what may be passed on

A run that was stopped goes on in its folder. On one machine, equal runs give equal bytes.
"""

from pathlib import Path

from featurehub.artifacts.artifact import Artifact
from featurehub.engine.offline import EngineOptions
from featurehub.runs.baseline import BaselineConfig
from featurehub.runs.build import BuildPlan, build
from featurehub.runs.examples import Examples
from featurehub.runs.judges import judge_of
from featurehub.runs.material import MaterialConfig
from featurehub.runs.mixture import Mixture, mix
from featurehub.runs.own_chats import write_chats
from featurehub.runs.parcel import pack
from featurehub.runs.progress import SILENT, Progress
from featurehub.runs.prompts import beginnings
from featurehub.runs.recipes import RecipeOptions, recipes_for
from featurehub.runs.training import SaeTraining
from saes.canaries import CanaryConfig
from saes.run import TrainConfig

__all__ = ["build_demo_sae"]

NAME, LAYER, LATENTS, K, SPAN = "smollm2-l14", 14, 1152, 16.0, 32
SPANS = 1_177_600
"""Spans that are trained on, each once: ten million tokens are read."""
HELD_OUT, SHOWN = 12_000, 800
"""Documents that labels are made from, and those that canaries and example contexts are taken from."""
CANARY_TOKENS = 12_000
"""Tokens of the canaries that ship: the demo's drift check reads them all, and is to take no more than a minute."""
OPTIONS = EngineOptions(dtype="float32")
"""Most CPUs read and answer in float32 up to twice as fast as in bfloat16."""


def build_demo_sae(model: Path, corpus: Path, work: Path, out: Path, progress: Progress = SILENT) -> Artifact:
    """Makes the SAE, its features and its parcel.

    Args:
        model: Folder of the model.
        corpus: Folder of the corpus.
        work: Folder for the chats, the SAE and the database.
        out: Folder that becomes the parcel.
        progress: Receives progress reports.

    Returns:
        The artifact in the parcel.

    Raises:
        InvalidInput: There is no corpus.
        BudgetExceeded: The disk is too small for the harvest.
        StoreError: The database cannot be written.
    """
    write_chats(model, work / "chats", progress=progress)
    mixture = mix(work / "chats", corpus)
    plan = plan_of(model, work)
    entries = mixture.entries
    artifact = build(plan, entries, judge_of(entries), beginnings(model, entries), progress)
    return pack(artifact.folder, plan.database, out, examples_of(model, mixture, progress))


def plan_of(model: Path, work: Path) -> BuildPlan:
    return BuildPlan(
        model=model,
        out=work / NAME,
        database=str(work / "featurehub.db"),
        name=NAME,
        layer=LAYER,
        material=MaterialConfig(text="own chats and a corpus"),
        training=SaeTraining(
            recipes=tuple(recipes_for(model, RecipeOptions((), [LATENTS], K))),
            config=TrainConfig.here(tokens=SPANS, span=SPAN),
        ),
        baseline=BaselineConfig(documents=HELD_OUT),
        engine=OPTIONS,
    )


def examples_of(model: Path, mixture: Mixture, progress: Progress) -> Examples:
    config = BaselineConfig(documents=SHOWN, canaries=CanaryConfig(max_tokens=CANARY_TOKENS))
    return Examples(model, mixture.examples, config, progress)

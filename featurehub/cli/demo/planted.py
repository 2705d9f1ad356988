"""Builds the SAE and the feature database of the planted model, for `demo planted` and `featurehub serve --planted`."""

from itertools import islice
from pathlib import Path

from featurehub.artifacts.artifact import Artifact, open_artifact
from featurehub.cli.progress import ConsoleProgress
from featurehub.demo.bundle import HOOK_LAYER, bundled_model
from featurehub.demo.corpus import conversations, messages
from featurehub.demo.prompts import neutral_prompts
from featurehub.engine.offline import Sampling
from featurehub.errors import ArtifactNotFound
from featurehub.runs.basis import CalibrationBasis
from featurehub.runs.build import BuildPlan, build
from featurehub.runs.judges import RecognizerJudge
from featurehub.runs.mapping import map_if_possible
from featurehub.runs.material import MaterialConfig
from featurehub.runs.training import SaeTraining
from featurehub.settings import Frozen, home
from featurehub.token_ids import Message
from labeling.calibration import CalibrationConfig
from saes.recipes import Recipe
from saes.run import TrainConfig

__all__ = ["PlantedPlan", "build_planted", "ensure_planted", "planted_database", "planted_sae", "user"]

LATENTS = 320
ANSWER_TOKENS = 96


class PlantedPlan(Frozen):
    """What the planted model's SAE is built from.

    Attributes:
        seed: Decides the conversations.
        conversations: How many conversations the SAE is trained, labelled and evaluated on.
    """

    seed: int = 7
    conversations: int = 5000


def planted_sae() -> Path:
    """The folder of the planted model's SAE."""
    return home() / "demo" / "sae"


def planted_database() -> str:
    """The path of its feature database."""
    return str(home() / "demo" / "featurehub.db")


def build_plan() -> BuildPlan:
    return BuildPlan(
        model=bundled_model(),
        out=planted_sae(),
        database=planted_database(),
        name=f"demo-l{HOOK_LAYER}",
        layer=HOOK_LAYER,
        material=MaterialConfig(text="the planted corpus"),
        training=SaeTraining(recipes=(Recipe(d_sae=LATENTS),), config=TrainConfig(tokens=3_000_000)),
        calibration=CalibrationConfig(
            doses=(0.4, 0.55, 0.7),
            names=30,
            candidates_per_name=4,
            finalists=2,
            answers=8,
            unsteered=96,
            screen_tokens=ANSWER_TOKENS,
            sampling=Sampling(temperature=0.7, max_tokens=ANSWER_TOKENS, seed=101),
        ),
    )


def build_planted(plan: PlantedPlan | None = None, build_with: BuildPlan | None = None) -> Artifact:
    """Builds the SAE and the feature database of the bundled model, with a map of its features.

    Args:
        plan: The conversations to build from; None for the defaults.
        build_with: Replaces the usual build plan.

    Returns:
        The SAE's artifact.
    """
    plan = plan or PlantedPlan()
    entries = [messages(conversation) for conversation in islice(conversations(plan.seed), plan.conversations)]
    prompts = [user(prompt) for prompt in neutral_prompts("calibrate")]
    how, progress = build_with or build_plan(), ConsoleProgress()
    artifact = build(how, entries, RecognizerJudge(), prompts, progress)
    map_if_possible(artifact, how.database, progress)
    return artifact


def ensure_planted() -> Artifact:
    """Returns the planted model's SAE, building it on first use, or to the end if its first build was stopped."""
    try:
        artifact, basis = open_artifact(planted_sae()), CalibrationBasis.find(planted_sae())
    except ArtifactNotFound:
        return build_planted()
    return artifact if basis is None or basis.done else build_planted()


def user(prompt: str) -> list[Message]:
    """A chat with one user message."""
    return [{"role": "user", "content": prompt}]

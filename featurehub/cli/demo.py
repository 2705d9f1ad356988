"""`featurehub demo …`: the whole loop on the bundled model, and looks at what it is made of."""

from itertools import islice
from pathlib import Path

from featurehub.artifacts.artifact import Artifact, open_artifact
from featurehub.cli.progress import ConsoleProgress
from featurehub.demo.bundle import bundled_model
from featurehub.demo.corpus import conversations, messages
from featurehub.demo.prompts import neutral_prompts
from featurehub.errors import ArtifactNotFound
from featurehub.runs.build import BuildPlan, build
from featurehub.runs.judges import RecognizerJudge
from featurehub.runs.material import MaterialConfig
from featurehub.runs.training import SaeTraining
from featurehub.settings import Frozen, home
from labeling.strength import CalibrationConfig
from saes.recipes import Recipe
from saes.run import TrainConfig
from saes.texts import Message

__all__ = ["SERVED_MEMORY", "DemoPlan", "build_demo", "demo_database", "demo_sae", "ensure_demo", "user"]

HOOK_LAYER = 3
LATENTS = 320
SERVED_MEMORY = ("--gpu-memory-utilization", "0.25")
"""For vLLM's server, before what the operator says: the demo has two servers and an engine on one GPU at a time."""


class DemoPlan(Frozen):
    """conversations: how many the SAE is trained, labelled and observed on."""

    seed: int = 7
    conversations: int = 5000


def demo_sae() -> Path:
    return home() / "demo" / "sae"


def demo_database() -> str:
    return str(home() / "demo" / "featurehub.db")


def build_plan() -> BuildPlan:
    return BuildPlan(
        model=bundled_model(),
        out=demo_sae(),
        database=demo_database(),
        name=f"demo-l{HOOK_LAYER}",
        layer=HOOK_LAYER,
        material=MaterialConfig(text="the planted corpus"),
        training=SaeTraining(recipes=(Recipe(d_sae=LATENTS),), config=TrainConfig(tokens=3_000_000)),
        calibration=CalibrationConfig(doses=(0.4, 0.55, 0.7), names=30, candidates_per_name=4),
    )


def build_demo(plan: DemoPlan | None = None, build_with: BuildPlan | None = None) -> Artifact:
    """Builds SAE and database of the bundled model."""
    plan = plan or DemoPlan()
    entries = [messages(conversation) for conversation in islice(conversations(plan.seed), plan.conversations)]
    prompts = [user(prompt) for prompt in neutral_prompts("calibrate")]
    return build(build_with or build_plan(), entries, RecognizerJudge(), prompts, ConsoleProgress())


def ensure_demo() -> Artifact:
    """Builds at first use."""
    try:
        return open_artifact(demo_sae())
    except ArtifactNotFound:
        return build_demo()


def user(prompt: str) -> list[Message]:
    return [{"role": "user", "content": prompt}]

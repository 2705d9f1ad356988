"""Names the features of one SAE, again and again, each time in a child of this process: it is there to be killed.

``python naming_process.py FOLDER URL``: for every line on stdin, a child goes on with the naming in FOLDER. Its process
id is written when it begins, and how it ended when it has.
"""

import os
import sys
from pathlib import Path

import torch
from scipy.sparse import hstack

sys.path.insert(0, str(Path(__file__).parents[2]))

from featurehub.artifacts.artifact import WEIGHTS, Artifact, open_artifact, seal
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.records import FeatureRow
from featurehub.runs.labelers import ExplainerName, NamingConfig, ScorerName
from featurehub.runs.naming import name_features
from featurehub.runs.progress import SILENT
from featurehub.runs.register import register_unnamed
from featurehub.runs.survey import Survey
from labeling.calibration import CalibrationConfig
from labeling.label import LabelSource
from labeling.llm import LlmConfig
from labeling.llm.budget import BudgetLimits
from tests.labeling.conftest import planted

__all__ = ["config_of", "made", "named", "survey_of"]

COPIES = 20


def survey_of(copies: int = COPIES) -> Survey:
    """Latents of the planted corpus, each several times: they fire alike, and their contexts are drawn apart."""
    corpus = planted(400)
    corpus = corpus._replace(matrix=hstack([corpus.matrix] * copies, format="csr"))
    source = LabelSource(corpus)
    rows = [FeatureRow(latent=latent, density=0.1, max_activation=1.0) for latent in source.latents]
    return Survey(rows, source, {}, 5.0)


def made(folder: Path, d_sae: int) -> Artifact:
    """A random SAE of so many latents, made if it is not there."""
    if (folder / WEIGHTS).is_file():
        return open_artifact(folder)
    folder.mkdir(parents=True)
    W, hook = torch.randn(d_sae, 192, generator=torch.Generator().manual_seed(0)), HookPoint(layer=1)
    Dictionary(W.clone(), W, torch.zeros(d_sae), torch.zeros(192), torch.zeros(d_sae)).save(folder / WEIGHTS)
    fields = {
        "name": "sae", "architecture": "topk", "d_model": 192, "d_sae": d_sae, "k": 3.0, "hook": hook, "dataset": {},
        "model": identify(bundled_model(), hook), "training": {}, "metrics": {"median_norm": 5.0},
        "created": "2026-01-01",
    }  # fmt: skip
    return seal(folder, fields)


def config_of(url: str, **limits: int) -> NamingConfig:
    llm = LlmConfig(url=url, model="m", at_once=4, limits=BudgetLimits(**limits))
    return NamingConfig(explainer=ExplainerName.LLM, scorer=ScorerName.WORDS, llm=llm)


def named(folder: Path, config: NamingConfig, survey: Survey) -> list[int]:
    """Registers and names the features in ``folder``; those that are left."""
    artifact, database = made(folder / "sae", survey.source.corpus.matrix.get_shape()[1]), str(folder / "features.db")
    register_unnamed(artifact, survey, database, SILENT)
    return name_features(config, survey, artifact, CalibrationConfig(), database, SILENT)


def main() -> None:
    folder, url = Path(sys.argv[1]), sys.argv[2]
    survey = survey_of()
    made(folder / "sae", survey.source.corpus.matrix.get_shape()[1])
    for _ in sys.stdin:
        if (child := os.fork()) == 0:
            named(folder, config_of(url), survey)
            os._exit(0)
        say(child)
        say(os.waitpid(child, 0)[1])


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

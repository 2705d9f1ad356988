"""Check g of ``cuda_check.py``: the whole loop on the bundled planted model, sized for three minutes on a GPU.

1. build: harvest, train, label, calibrate, register; three engines, one after the other
2. steer by the names that the build gave, in one batch with unsteered requests: the engine, and where this vLLM's
   server takes our routes, the server too
3. drift: the model itself, one from another seed, and one with changed concepts
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from featurehub.artifacts.artifact import Artifact
from featurehub.cli.demo.planted import PlantedPlan, build_plan, build_planted, planted_database, planted_sae, user
from featurehub.cli.server import free_port, served
from featurehub.demo.bundle import bundled_model, sibling
from featurehub.demo.concepts import names
from featurehub.demo.prompts import neutral_prompts
from featurehub.demo.recognizer import recognize
from featurehub.edits import LatentEdit, Steering
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.features import Feature, Mode, State
from featurehub.runs.drift import check_drift
from featurehub.sdk.client import Client
from featurehub.sdk.variant import Variant
from featurehub.store import open_store
from featurehub.token_ids import prompt_ids
from saes.run import TrainConfig

__all__ = ["check_loop"]

SERVER = (0, 32)
"""vLLM's first release whose server takes our routes."""
STEERED, ANSWERS = 4, 24
SAMPLING = Sampling(temperature=0.7, max_tokens=96, seed=9000)


def check_loop(folder: Path) -> dict[str, Any]:
    os.environ["FEATUREHUB_HOME"] = str(folder / "home")
    started = time.perf_counter()
    artifact = build_small()
    metrics = artifact.manifest.metrics
    assert metrics["explained_variance"] > 0.5, f"the SAE explains {metrics['explained_variance']:.2f}"
    results: dict[str, Any] = {
        "build, s": round(time.perf_counter() - started),
        "explained variance, L0": f"{metrics['explained_variance']:.3f}, {metrics['l0']:.1f}",
    }
    return results | steered(artifact) | over_http(folder) | drifted()


def build_small() -> Artifact:
    """Enough to work with; ``featurehub demo planted`` takes more of everything."""
    calibration = build_plan().calibration.model_copy(
        update={"doses": (0.45, 0.65), "names": 24, "candidates_per_name": 3, "answers": 4, "confirm": 6}
    )
    plan = build_plan()
    training = plan.training.model_copy(update={"config": TrainConfig.here(tokens=1_000_000)})
    small = plan.model_copy(update={"training": training, "calibration": calibration})
    return build_planted(PlantedPlan(conversations=3000), small)


def steered(artifact: Artifact) -> dict[str, Any]:
    """Every feature's answers and the unsteered ones side by side in one batch."""
    chosen = best_steered(artifact)
    steerings = [None, *(Steering(edits=(edit_of(feature),)) for feature in chosen.values())]
    with Engine(bundled_model(), EngineConfig.holding(artifact), EngineOptions()) as engine:
        prompts = [prompt_ids(engine.tokenizer, user(prompt)) for prompt in neutral_prompts("evaluate")]
        asked = [(prompts[i % len(prompts)], steering) for steering in steerings for i in range(ANSWERS)]
        prompts, steerings = zip(*asked, strict=True)
        answers = list(engine.generate(prompts, steerings, SAMPLING))
    texts = [answer.text for answer in answers]
    plain, *theirs = (texts[i : i + ANSWERS] for i in range(0, len(texts), ANSWERS))
    pairs = {name: (share(name, own), share(name, plain)) for name, own in zip(chosen, theirs, strict=True)}
    gained = sum(after - before for after, before in pairs.values()) / len(pairs)
    assert gained > 0.3, f"steering shows too little: {pairs}"
    assert all(answer.report is None for answer in answers[:ANSWERS])
    assert all(answer.report is not None and answer.report.steered_tokens for answer in answers[ANSWERS:])
    return {
        f"answers that show {name}": f"{after:.2f}, unsteered {before:.2f}" for name, (after, before) in pairs.items()
    }


def best_steered(artifact: Artifact) -> dict[str, Feature]:
    """By concept: the features that calibration found to steer best."""
    with open_store(planted_database()).read() as reader:
        features, labels = reader.features(artifact.manifest.id), reader.labels(artifact.manifest.id)
        named = (f for f in features if f.latent in labels and labels[f.latent].name in names())
        ranked = sorted(named, key=lambda f: -(f.steerability or 0))
        concepts = dict.fromkeys(labels[f.latent].name for f in ranked)
        scope = reader.scope(artifact.manifest.id)
        return {name: reader.resolve(name, scope) for name in [*concepts][:STEERED]}


def edit_of(feature: Feature) -> LatentEdit:
    """Weight 1, as the server would plan it."""
    assert feature.strength is not None
    return LatentEdit(sae=feature.artifact, latent=feature.latent, mode=Mode.NUDGE, value=feature.strength)


def share(concept: str, texts: Sequence[str]) -> float:
    return sum(concept in recognize(text).shows for text in texts) / len(texts)


def over_http(folder: Path) -> dict[str, Any]:
    import vllm

    release = tuple(map(int, vllm.__version__.split(".")[:2]))
    if release < SERVER:
        return {"over HTTP": f"not on vLLM {vllm.__version__}"}
    with served(["--planted"], free_port(), folder / "server.log") as url, Client(base_url=url) as client:
        messages: Any = [{"role": "user", "content": "tell me something ."}]
        options: Any = {"messages": messages, "max_tokens": 48, "temperature": 0}
        plain: Any = client.chat.completions.create(model="demo", **options)
        variant = Variant("demo").set("weather", 1.0)
        moved: Any = client.chat.completions.create(model=variant, **options)
        assert moved.featurehub["steered_tokens"] > moved.usage.prompt_tokens
        assert moved.choices[0].message.content != plain.choices[0].message.content
    return {"over HTTP": f"{moved.featurehub['steered_tokens']} tokens steered"}


def drifted() -> dict[str, Any]:
    """Fresh without a look, stale as a whole, and stale in part."""
    same, other, changed = (
        check_drift(planted_sae(), model, planted_database())
        for model in (bundled_model(), sibling("reseeded"), sibling("changed"))
    )
    assert same.state is State.FRESH, same.reason
    assert other.state is State.STALE, other.reason
    assert all(verdict.state is State.STALE for verdict in other.features)
    with open_store(planted_database()).read() as reader:
        labels = reader.labels(changed.artifact)
    known = [verdict for verdict in changed.features if labels[verdict.latent].name in names()]
    stale = [verdict.label for verdict in known if verdict.state is State.STALE]
    assert 0 < len(stale) < len(changed.features) / 2, f"{len(stale)} of {len(known)} concepts went stale: {stale}"
    return {
        "the model itself, another seed": f"{same.state}, {other.state}",
        "changed concepts": f"{len(stale)} of {len(known)} features of concepts stale: {', '.join(stale[:6])}",
    }

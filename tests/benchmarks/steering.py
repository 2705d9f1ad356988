"""Does naming a feature steer? The demo's features on neutral prompts that chose neither feature nor strength.

For every topic and manner: the feature that search returns first for the concept's name, at weight 1.0 and temperature
0.7, beside unsteered answers and random directions of the same dose. Prints a row per concept and the figures to hold.

    python tests/benchmarks/steering.py [--answers 48]
"""

import argparse
from collections.abc import Sequence
from statistics import mean, median

import torch
from rich.console import Console
from rich.table import Table

from featurehub.artifacts.artifact import Artifact
from featurehub.cli.demo.planted import ensure_planted, planted_database, user
from featurehub.demo.bundle import bundled_model
from featurehub.demo.concepts import Kind, names
from featurehub.demo.prompts import neutral_prompts
from featurehub.demo.recognizer import Verdict, recognize
from featurehub.edits import LatentEdit, Steering
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.features import Feature, Mode
from featurehub.store import open_store
from featurehub.token_ids import prompt_ids

RANDOM_DIRECTIONS = 12
UNSTEERED = 10
console = Console()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=48)
    count = parser.parse_args().answers
    artifact = ensure_planted()
    features = {name: first_found(name) for name in names(Kind.TOPIC, Kind.MANNER)}
    with Engine(bundled_model(), EngineConfig.holding(artifact), EngineOptions()) as engine:
        unsteered = answers(engine, None, UNSTEERED * count, seed=9000)
        steered = {
            name: answers(engine, nudge(feature), count, seed=20_000 + 100 * i)
            for i, (name, feature) in enumerate(features.items())
        }
        doses = [f.strength or 0.0 for f in features.values()]
    random = random_directions(artifact, median(doses), count)
    report(features, unsteered, steered, random)


def first_found(name: str) -> Feature:
    with open_store(planted_database()).read() as reader:
        return reader.search(name, limit=1).features[0]


def nudge(feature: Feature) -> Steering:
    assert feature.strength is not None
    return Steering(edits=(LatentEdit(latent=feature.latent, mode=Mode.NUDGE, value=feature.strength),))


def answers(engine: Engine, steering: Steering | None, count: int, seed: int) -> list[Verdict]:
    prompts = [prompt_ids(engine.tokenizer, user(prompt)) for prompt in neutral_prompts("evaluate")]
    asked = [prompts[i % len(prompts)] for i in range(count)]
    sampling = Sampling(temperature=0.7, max_tokens=96, seed=seed)
    return [recognize(answer.text) for answer in engine.generate(asked, [steering] * count, sampling)]


def random_directions(artifact: Artifact, strength: float, count: int) -> list[Verdict]:
    """The same engine with an SAE whose decoder rows are random directions of the trained ones' length."""
    import tempfile
    from pathlib import Path

    from featurehub.dictionary import Dictionary

    trained = Dictionary.load(artifact.weights)
    rows = torch.randn(trained.W_dec.shape, generator=torch.Generator().manual_seed(0))
    rows *= (trained.W_dec.norm(dim=-1) / rows.norm(dim=-1))[:, None]
    with tempfile.TemporaryDirectory() as folder:
        trained._replace(W_dec=rows).save(Path(folder) / "sae.safetensors")
        sae = SaeConfig(id="random", folder=Path(folder), d_sae=trained.d_sae)
        config = EngineConfig(hooks=(HookConfig(point=artifact.manifest.hook, saes=(sae,)),))
        with Engine(bundled_model(), config, EngineOptions()) as engine:
            return [
                verdict
                for i in range(RANDOM_DIRECTIONS)
                for verdict in answers(engine, random_nudge(i, strength), count, seed=50_000 + 100 * i)
            ]


def random_nudge(latent: int, strength: float) -> Steering:
    return Steering(edits=(LatentEdit(latent=latent, mode=Mode.NUDGE, value=strength),))


def share(name: str, verdicts: Sequence[Verdict]) -> float:
    return mean(name in verdict.shows for verdict in verdicts)


def report(
    features: dict[str, Feature], unsteered: list[Verdict], steered: dict[str, list[Verdict]], random: list[Verdict]
) -> None:
    table = Table("concept", "feature", "steered", "unsteered", "random", "well-formed")
    for name, feature in features.items():
        sound = mean(verdict.well_formed for verdict in steered[name])
        shares = (share(name, steered[name]), share(name, unsteered), share(name, random), sound)
        table.add_row(name, feature.label, *(f"{value:.2f}" for value in shares))
    console.print(table)
    success = {name: share(name, verdicts) for name, verdicts in steered.items()}
    base = {name: share(name, unsteered) for name in features}
    console.print(f"median success            {median(success.values()):.2f}   (0.70)")
    for kind, wanted in ((Kind.TOPIC, 9), (Kind.MANNER, 5)):
        console.print(f"{kind}s at least 0.5         {sum(success[n] >= 0.5 for n in names(kind))}   ({wanted})")
    sound = mean(verdict.well_formed for verdicts in steered.values() for verdict in verdicts)
    console.print(f"mean well-formed          {sound:.2f}   (0.75)")
    console.print(f"most often unsteered      {max(base.values()):.2f}   (0.12)")
    excess = max(share(name, random) - base[name] for name in features)
    console.print(f"random beyond unsteered   {excess:+.2f}   (+0.05)")
    console.print(f"unsteered well-formed     {mean(verdict.well_formed for verdict in unsteered):.2f}")


if __name__ == "__main__":
    main()

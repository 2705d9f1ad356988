"""Do an SAE's latents bring about what they read? Judged on prompts that chose neither the latent nor its strength.

1. Of every concept, the latents that read it best are candidates; a latent belongs to the concept that it reads best.
2. Latent and dose are chosen by really steering, on calibration prompts (``labeling.strength``).
3. What is chosen steers the answers to other prompts, at temperature 0.7, beside unsteered answers and random
   directions at the median of the doses found.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from reading import Reading
from subjects import Subject

from featurehub.artifacts.manifest import HookPoint
from featurehub.cli.demo.planted import build_plan
from featurehub.dictionary import Dictionary
from featurehub.edits import LatentEdit, Steering
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.features import Mode
from featurehub.records import Calibration, Label
from featurehub.token_ids import prompt_ids
from labeling.strength import Candidate, calibrate

__all__ = ["Steered", "open_engine", "steer"]

CANDIDATES, LEAST_F1 = 4, 0.6
ANSWERS, RANDOM_DIRECTIONS = 24, 12


class Steered(NamedTuple):
    """Of one concept, shares of the answers that show it: steered, with no edit, and with random directions.

    coherent, plain: shares of the steered and of the unsteered answers that are coherent
    """

    steered: float
    unsteered: float
    random: float
    coherent: float
    plain: float


def steer(
    subject: Subject, dictionary: Dictionary, readers: Mapping[str, Sequence[Reading]], norm: float, folder: Path
) -> dict[str, Steered]:
    """By concept. readers: best first;  norm: median ‖x‖"""
    with_random_directions(dictionary).save(folder / "sae.safetensors")
    sae = SaeConfig(id="steered", folder=folder, d_sae=dictionary.d_sae + RANDOM_DIRECTIONS)
    with open_engine(subject, sae) as engine:
        chosen = choose(engine, subject, candidates(subject, dictionary, readers), norm)
        plain = answers(engine, subject, None, 10 * ANSWERS, 90_000)
        coefficient = median(each.dose for each in chosen.values()) * norm
        random = [
            text
            for i in range(RANDOM_DIRECTIONS)
            for text in answers(engine, subject, nudge(dictionary.d_sae + i, coefficient), ANSWERS, 50_000 + 100 * i)
        ]
        steered = {
            candidate.name: answers(engine, subject, nudge(candidate.latent, found.strength), ANSWERS, 100 * i)
            for i, (candidate, found) in enumerate(chosen.items())
        }
    # A concept without a latent of its own cannot be steered: its answers are the unsteered ones.
    return {name: judged(subject, name, steered.get(name, plain), plain, random) for name in subject.steered}


def open_engine(subject: Subject, *saes: SaeConfig) -> Engine:
    hook = HookConfig(point=HookPoint(layer=subject.layer), saes=saes)
    return Engine(subject.model, EngineConfig(hooks=(hook,)), EngineOptions())


def with_random_directions(dictionary: Dictionary) -> Dictionary:
    """With further latents, whose decoder rows are random directions of length 1."""
    rows = torch.randn(RANDOM_DIRECTIONS, dictionary.d_model, generator=torch.Generator().manual_seed(0))
    rows, zeros = rows / rows.norm(dim=-1, keepdim=True), torch.zeros(RANDOM_DIRECTIONS)
    more = {"W_enc": rows, "W_dec": rows, "b_enc": zeros, "threshold": zeros}
    return dictionary._replace(**{name: torch.cat([getattr(dictionary, name), each]) for name, each in more.items()})


def candidates(subject: Subject, dictionary: Dictionary, readers: Mapping[str, Sequence[Reading]]) -> list[Candidate]:
    """Step 1. The best reader of a concept needs no least F1."""
    norms = dictionary.W_dec.norm(dim=-1)
    owner = {
        reading.latent: name
        for _, reading, name in sorted((r.chosen, r, name) for name in subject.steered for r in readers[name])
    }
    found = []
    for name in subject.steered:
        own = [reading for reading in readers[name] if owner[reading.latent] == name]
        for reading in [*own[:1], *(r for r in own[1:CANDIDATES] if r.chosen >= LEAST_F1)]:
            length = float(norms[reading.latent])
            found.append(Candidate(reading.latent, Label(name=name), name, label_score=reading.chosen, norm=length))
    return found


def choose(engine: Engine, subject: Subject, tried: Sequence[Candidate], norm: float) -> dict[Candidate, Calibration]:
    """Step 2. Of every concept the candidate with the best merit."""
    prompts = [prompt_ids(engine.tokenizer, prompt) for prompt in subject.calibrate]
    config = build_plan().calibration.model_copy(update={"doses": subject.doses})
    found = calibrate(engine, tried, prompts, norm, subject.judge, config)
    rivals: defaultdict[str, list[Candidate]] = defaultdict(list)
    for candidate in tried:
        rivals[candidate.name].append(candidate)
    return {best: found[best.latent] for own in rivals.values() for best in [max(own, key=lambda c: merit(c, found))]}


def merit(candidate: Candidate, found: Mapping[int, Calibration]) -> tuple[float, float]:
    """Share of the answers that show the concept · share that are coherent; of equals, what reads better."""
    calibration = found[candidate.latent]
    shown = (calibration.steerability or 0.0) + calibration.unsteered
    return shown * (calibration.coherence or 0.0), candidate.label_score


def judged(subject: Subject, name: str, steered: Sequence[str], plain: Sequence[str], random: Sequence[str]) -> Steered:
    shares = (float(subject.judge.shows(Label(name=name), texts).mean()) for texts in (steered, plain, random))
    coherent, unsteered = (float(subject.judge.coherent(texts).mean()) for texts in (steered, plain))
    return Steered(*shares, coherent, unsteered)


def nudge(latent: int, coefficient: float) -> Steering:
    return Steering(edits=(LatentEdit(latent=latent, mode=Mode.NUDGE, value=coefficient),))


def answers(engine: Engine, subject: Subject, steering: Steering | None, count: int, seed: int) -> list[str]:
    prompts = [prompt_ids(engine.tokenizer, prompt) for prompt in subject.evaluate]
    asked = [prompts[i % len(prompts)] for i in range(count)]
    sampling = Sampling(temperature=0.7, max_tokens=96, seed=seed)
    return [answer.text for answer in engine.generate(asked, [steering] * count, sampling)]

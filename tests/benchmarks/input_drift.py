"""Input drift: how often an alarm is false, after how many tokens one comes where something changed, and what it costs.

    python tests/benchmarks/input_drift.py seeds [--seeds 100] [--tokens 1000000]
    python tests/benchmarks/input_drift.py changes [--seeds 20] [--tokens 100000]
    python tests/benchmarks/input_drift.py throughput [--rounds 12]

``seeds`` and ``changes`` draw requests from ``tests/input_drift/traffic.py``: 8 topics with 12 latents each, requests
that differ in how much they use them, 16 tokens of each. What is normal is learned from 2,048 requests. ``throughput``
runs the bundled model with an SAE of 4,096 latents, with the sampler at 1 % and without it by turns.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console

from featurehub.artifacts.artifact import WEIGHTS
from featurehub.artifacts.manifest import HookPoint
from featurehub.demo.bundle import bundled_model
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.engine.hookset import current
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.engine.sampler import SAMPLER
from featurehub.input_drift.monitor import Monitor, TrafficState
from featurehub.input_drift.sample import REQUESTS
from tests.engine.world import unit_dictionary
from tests.input_drift.traffic import D_SAE, TOKENS, Traffic, shifted

WANTED, SHARE = 2048, 0.01
A_SAMPLE = REQUESTS * TOKENS
LONGEST = 400_000
"""Tokens after which no alarm is waited for any more."""
console = Console(highlight=False)


def learned(seed: int) -> tuple[Monitor, Traffic]:
    """A monitor that knows what is normal, and the traffic that it knows."""
    monitor, traffic = Monitor(D_SAE, WANTED), Traffic(seed)
    for sample in traffic.samples(WANTED // REQUESTS):
        monitor.see(sample)
    return monitor, traffic


def false_alarms(seeds: int, tokens: int) -> None:
    """Traffic without a change."""
    alarms, highest = 0, 0.0
    for seed in range(seeds):
        monitor, traffic = learned(seed)
        for sample in traffic.samples(-(-tokens // A_SAMPLE)):
            monitor.see(sample)
            highest = max(highest, *monitor.evidence)
        alarms += monitor.found is not TrafficState.NORMAL
        if (seed + 1) % 10 == 0:
            console.print(f"{seed + 1} seeds of {tokens:,} tokens: {alarms} alarms, highest evidence {highest:.2f}")


def changes(seeds: int, tokens: int) -> None:
    """Traffic that changes after so many tokens."""
    kinds: dict[str, Callable[[int], Traffic]] = {
        **{f"topics {share:.0%}": lambda seed, s=share: Traffic(seed, shifted(s)) for share in (0.2, 0.3, 0.5, 0.8)},
        **{f"outside {share:.0%}": lambda seed, s=share: Traffic(seed, strange=s) for share in (0.2, 0.3, 0.5, 0.8)},
    }
    for kind, other in kinds.items():
        taken, found = zip(*(until_alarm(seed, tokens, other(10_000 + seed)) for seed in range(seeds)), strict=True)
        named = sum(kind.startswith(each) for each in found)
        console.print(
            f"{kind:12} after {tokens:,} tokens: alarm after {np.median(taken):8,.0f}, at most {max(taken):8,.0f}; "
            f"called so {named} of {seeds} times",
            soft_wrap=True,
        )


def until_alarm(seed: int, tokens: int, other: Traffic) -> tuple[int, TrafficState]:
    """After how many tokens of other traffic there is an alarm, and which."""
    monitor, traffic = learned(seed)
    for sample in traffic.samples(tokens // A_SAMPLE):
        monitor.see(sample)
    taken = 0
    while monitor.found is TrafficState.NORMAL and taken < LONGEST:
        monitor.see(other.sample())
        taken += A_SAMPLE
    return taken, monitor.found


def throughput(rounds: int) -> None:
    """With the sampler and without it, by turns."""
    with TemporaryDirectory() as folder:
        unit_dictionary(0, 192, 4096, 2.0).save(Path(folder) / WEIGHTS)
        sae = SaeConfig(id="test", folder=Path(folder), d_sae=4096)
        config = EngineConfig(hooks=(HookConfig(point=HookPoint(layer=3), saes=(sae,)),))
        with Engine(bundled_model(), config, EngineOptions(enforce_eager=True, max_num_seqs=256)) as engine:
            speeds, share = by_turns(engine, rounds)
    with_it, without = (np.median(speeds[on]) for on in (True, False))
    ratios = np.array(speeds[True]) / np.array(speeds[False])
    console.print(
        f"{with_it:,.0f} tokens/s with it, {without:,.0f} without; of {rounds} pairs the median ratio is "
        f"{np.median(ratios):.4f} ({np.quantile(ratios, 0.25):.3f} to {np.quantile(ratios, 0.75):.3f}); it took "
        f"{share:.3%} of the time"
    )


def by_turns(engine: Engine, rounds: int) -> tuple[dict[bool, list[float]], float]:
    """Tokens per second of each round, and the share of the time that the sampler took of those with it."""
    generator, hooks = np.random.default_rng(0), current()
    assert hooks is not None
    speeds: dict[bool, list[float]] = {True: [], False: []}
    total = 0.0
    for at in range(2 * rounds + 2):
        on = at % 2 == 1
        prompts = generator.integers(20, 90, (64, 40)).tolist()
        SAMPLER.active = on
        began = SAMPLER.allowance.filled = time.perf_counter()  # Rounds without it add nothing to its allowance.
        list(engine.generate(prompts, [None] * len(prompts), Sampling(temperature=0.0, max_tokens=8)))
        if on:
            SAMPLER.look(hooks, SHARE)
        took = time.perf_counter() - began
        if at >= 2:
            speeds[on].append(len(prompts) * 48 / took)
            total += took * on
        SAMPLER.begin_step((), hooks.conditions.truths.device)
        if at == 1:
            SAMPLER.allowance.taken = 0.0
    return speeds, SAMPLER.allowance.taken / total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("seeds", "changes", "throughput"))
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--rounds", type=int, default=12)
    arguments = parser.parse_args()
    if arguments.what == "seeds":
        false_alarms(arguments.seeds or 100, arguments.tokens or 1_000_000)
    elif arguments.what == "changes":
        changes(arguments.seeds or 20, arguments.tokens or 100_000)
    else:
        throughput(arguments.rounds)


if __name__ == "__main__":
    main()

"""A monitor on disk, so that a server that starts anew knows what was normal and what it had found.

The numbers lie in an ``.npz``, which is written beside the old one and put in its place. It holds sums over requests,
and nothing else of what they said.
"""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from featurehub.errors import InvalidConfig
from featurehub.input_drift.monitor import Monitor, TrafficState

__all__ = ["load", "save"]

VERSION = 1


def save(monitor: Monitor, file: Path) -> None:
    """Writes a monitor to a file, whose folder is there."""
    reference, recent, limits = monitor.reference, monitor.recent, monitor.limits
    numbers = {
        "version": VERSION, "wanted": reference.wanted, "weights": reference.weights,
        "reference": [reference.requests, reference.tokens], "rates": reference.rates, "errors": reference.errors,
        "l0": reference.l0, "seen": [monitor.requests, monitor.tokens], "found": monitor.found,
        "alarm": monitor.alarm or "", "since": monitor.since, "recent": [recent.samples, recent.error, recent.l0],
        "recent_rates": recent.rates,
    }  # fmt: skip
    if limits is not None:
        numbers |= {"bets": limits.errors.seen, "of_errors": limits.errors.staked, "of_rates": limits.rates.staked}
    written = file.with_suffix(".new.npz")
    arrays: dict[str, Any] = {name: np.array(value) for name, value in numbers.items()}
    np.savez(written, **arrays)
    os.replace(written, file)


def load(file: Path, d_sae: int) -> Monitor:
    """Reads a monitor.

    Args:
        file: What ``save`` wrote.
        d_sae: Number of latents of its SAE.

    Raises:
        InvalidConfig: The file is damaged, of another version, or of an SAE with another number of latents.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            numbers = dict(stored)
        if int(numbers["version"]) != VERSION or numbers["rates"].shape != (d_sae,):
            raise InvalidConfig(
                f"{file} holds another SAE's input drift, or another version's; remove it to start anew"
            )
        return monitor_of(numbers, d_sae)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InvalidConfig(f"{file} cannot be read ({error}); remove it to take a new reference") from None


def monitor_of(numbers: dict[str, np.ndarray], d_sae: int) -> Monitor:
    """The monitor that these numbers describe. Raises KeyError, ValueError."""
    monitor = Monitor(d_sae, int(numbers["wanted"]))
    reference, recent = monitor.reference, monitor.recent
    reference.weights, reference.l0 = str(numbers["weights"]), float(numbers["l0"])
    reference.requests, reference.tokens = numbers["reference"].tolist()
    reference.rates, reference.errors = numbers["rates"], numbers["errors"]
    monitor.requests, monitor.tokens = numbers["seen"].tolist()
    alarm = str(numbers["alarm"])
    monitor.found, monitor.alarm = TrafficState(str(numbers["found"])), TrafficState(alarm) if alarm else None
    monitor.since = str(numbers["since"])
    samples, recent.error, recent.l0 = numbers["recent"].tolist()
    recent.samples, recent.rates = int(samples), numbers["recent_rates"]
    if "bets" in numbers:
        limits = monitor.limits = reference.limits()
        for fortunes, name in ((limits.errors, "of_errors"), (limits.rates, "of_rates")):
            fortunes.seen, fortunes.staked = int(numbers["bets"]), numbers[name]
    return monitor

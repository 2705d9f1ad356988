"""Watches a server's traffic for input drift: a monitor for each SAE, their files, and the log of what they found.

1. The engine hands out samples (``featurehub.engine.sampler``), which say nothing of any one request. Each goes to the
   monitor of its SAE (``featurehub.input_drift.monitor``).
2. When what a monitor says changes, the server's log and ``events.jsonl`` say so, with the evidence, and with the names
   of the features that moved most. Never text: there is none.
3. Monitors are saved when that happens, now and then, and when the server ends, so that what is normal outlives it.
4. One process watches: where vLLM runs several API servers it is the first, which holds the folder's lock. The others,
   and other servers with the same folder, say what its files say.
"""

import fcntl
import json
import logging
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from api.model import InputDriftOptions
from featurehub.errors import ArtifactNotFound, InvalidConfig
from featurehub.input_drift.kept import load, save
from featurehub.input_drift.monitor import Monitor, Moved, TrafficState
from featurehub.input_drift.sample import Sample
from featurehub.store import RegisteredArtifact, Store

__all__ = ["NAMED", "Traffic"]

NAMED = 20
"""Most features of which it is said that they moved."""
SAVE_EVERY = 30.0
LEVELS = {TrafficState.LEARNING: logging.INFO, TrafficState.NORMAL: logging.INFO}
SAID = {
    TrafficState.LEARNING: "learns what is normal from the next {wanted} requests",
    TrafficState.NORMAL: "is normal, measured by {requests} requests",
    TrafficState.TOPICS: "is about other things than before: features fire at other rates, most of all {moved}",
    TrafficState.OUTSIDE: "is outside of what the SAE can express: {now:.0%} of its tokens have high errors, "
    "{before:.0%} had",
    TrafficState.MODEL: "is read by other weights than before: nothing is compared until these are back, or a "
    "new reference",
}
"""What is logged of each, after "the traffic that NAME reads"."""

logger = logging.getLogger("vllm.featurehub")


class Traffic:
    """Watches the traffic of one server.

    Args:
        options: How.
        store: The feature database, which names SAEs and features.

    Attributes:
        monitors: By id of the SAE.
        seconds: What the sampling has taken of the engine so far.
        lock: The open file that makes this process the one that watches; None while it does not.
    """

    def __init__(self, options: InputDriftOptions, store: Store) -> None:
        self.options, self.store, self.folder = options, store, Path(options.folder)
        self.monitors: dict[str, Monitor] = {}
        self.seconds, self.saved = 0.0, time.monotonic()
        self.lock: IO[bytes] | None = None
        self.using = threading.Lock()

    def start(self) -> bool:
        """Makes this process the one that watches. Returns whether it is."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("wb")
        except OSError as error:
            logger.warning("input drift is not watched: %s cannot be written to (%s)", self.folder, error)
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            logger.info("input drift is watched by another process, which has locked %s", self.folder)
            return False
        self.lock = lock
        return True

    def end(self) -> None:
        """Saves everything, and watches no more."""
        if self.lock is not None:
            self.save()
            self.lock.close()
            self.lock = None

    def take(self, samples: Iterable[Sample], seconds: float) -> None:
        """Takes what the engine has handed out."""
        with self.using:
            self.seconds = seconds
            for sample in samples:
                with suppress(ArtifactNotFound):  # It was removed while the engine held it.
                    self.see(sample)
            if time.monotonic() - self.saved > SAVE_EVERY:
                self.save()

    def see(self, sample: Sample) -> None:
        artifact = self.artifact(sample.sae)
        monitor = self.monitor(artifact)
        before = monitor.found if monitor.since else None
        if monitor.see(sample) is not before:
            self.tell(artifact, monitor)

    def artifact(self, sae: str) -> RegisteredArtifact:
        with self.store.read() as reader:
            return reader.artifact(sae)

    def monitor(self, artifact: RegisteredArtifact) -> Monitor:
        """The monitor of an SAE: the one at work, else the saved one, else a new one."""
        if artifact.id in self.monitors:
            return self.monitors[artifact.id]
        monitor, file = Monitor(artifact.manifest.d_sae, self.options.requests), self.file(artifact.id)
        if file.exists():
            try:
                monitor = load(file, artifact.manifest.d_sae)
            except InvalidConfig as error:
                logger.warning("input drift is learned anew: %s", error)
        if self.lock is not None:
            self.monitors[artifact.id] = monitor
        return monitor

    def restart(self, artifact: RegisteredArtifact) -> Monitor:
        """Takes a new reference from the next requests. Raises InvalidConfig where another process watches."""
        with self.using:
            if self.lock is None:
                raise InvalidConfig(f"another process watches, and has locked {self.folder}: ask that one")
            monitor = self.monitors[artifact.id] = Monitor(artifact.manifest.d_sae, self.options.requests)
            self.tell(artifact, monitor)
            return monitor

    def file(self, sae: str) -> Path:
        return self.folder / f"{sae}.npz"

    def save(self) -> None:
        """Saves the monitors; warns where that fails."""
        self.saved = time.monotonic()
        try:
            for sae, monitor in self.monitors.items():
                save(monitor, self.file(sae))
        except OSError as error:
            logger.warning("what is known of the traffic cannot be saved: %s", error)

    def names(self, artifact: RegisteredArtifact, moved: Iterable[Moved]) -> dict[int, str]:
        """The labels of latents that moved; "" for one without a label."""
        latents = [each.latent for each in moved]
        with self.store.read() as reader:
            found = {each.latent: each.label for each in reader.latents(artifact.id, latents)}
        return {latent: found.get(latent, "") for latent in latents}

    def tell(self, artifact: RegisteredArtifact, monitor: Monitor) -> None:
        """Says in both logs what a monitor says from now on, and saves it."""
        monitor.since = datetime.now(UTC).isoformat(timespec="seconds")
        moved = monitor.moved(NAMED)
        names = self.names(artifact, moved)
        event = self.event(artifact, monitor, moved, names)
        shown = ", ".join(
            f"{names[each.latent] or each.latent} ({each.before:.1%} to {each.now:.1%})" for each in moved[:5]
        )
        text = SAID[monitor.found].format(
            wanted=monitor.reference.wanted, requests=monitor.reference.requests, moved=shown or "none by itself",
            before=event["high_error"]["before"], now=event["high_error"]["now"],
        )  # fmt: skip
        level = LEVELS.get(monitor.found, logging.WARNING)
        logger.log(level, "input drift: the traffic that %s reads %s", artifact.name, text)
        try:
            with (self.folder / "events.jsonl").open("a") as log:
                log.write(json.dumps(event) + "\n")
        except OSError as error:
            logger.warning("the event cannot be written: %s", error)
        self.save()

    def event(
        self, artifact: RegisteredArtifact, monitor: Monitor, moved: Iterable[Moved], names: dict[int, str]
    ) -> dict[str, Any]:
        """The line of ``events.jsonl``."""
        errors, rates = monitor.evidence
        return {
            "time": monitor.since, "sae": artifact.name, "id": artifact.id, "state": str(monitor.found),
            "reference": {"requests": monitor.reference.requests, "tokens": monitor.reference.tokens},
            "tested": {"requests": monitor.requests, "tokens": monitor.tokens},
            "evidence": {"errors": errors, "rates": rates},
            "high_error": {
                "before": monitor.limits.error if monitor.limits is not None else 0.0, "now": monitor.recent.error
            },
            "moved": [{"name": names[each.latent], **each._asdict()} for each in moved],
        }  # fmt: skip

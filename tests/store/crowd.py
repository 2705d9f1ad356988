"""Many writers and readers at once, for some seconds, and what must hold of what they see and leave."""

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from featurehub.errors import StoreBusy
from featurehub.features import Feature
from featurehub.store import Calibration, Reader, Store, Writer, open_store
from tests.labels import labeled
from tests.store.conftest import PROVENANCE, build_manifest, build_row

__all__ = ["crowd", "prepare"]

SAES = ("1" * 64, "2" * 64, "3" * 64)
LATENTS = range(12)


def prepare(store: Store) -> None:
    """SAEs of one model, with features."""
    with store.write() as writer:
        for id in SAES:
            writer.put_artifact(build_manifest(id[:1], id), "/nowhere")
            writer.put_labels(
                {
                    each: (labeled(f"topic {latent}"), PROVENANCE)
                    for latent, each in zip(LATENTS, writer.put_features(id, map(build_row, LATENTS)), strict=True)
                }
            )


def crowd(location: str, writers: int, readers: int, seconds: float) -> Counter[str]:
    """Lets everybody write and read until the time is over.

    Returns:
        How often what was done, and how often StoreBusy was raised. Any other error is raised here.
    """
    done: Counter[str] = Counter()
    until = time.monotonic() + seconds
    with closing(open_store(location)) as store, ThreadPoolExecutor(writers + readers) as pool:
        work = [pool.submit(write_on, store, number, until, done) for number in range(writers)]
        work += [pool.submit(read_on, store, number, until, done) for number in range(readers)]
        for each in work:
            each.result()
        with store.read() as reader:
            hold(reader)
            for each in SAES:
                for feature in reader.features(each):
                    numbered(reader, feature)
    return done


def write_on(store: Store, number: int, until: float, done: Counter[str]) -> None:
    chance = random.Random(number)
    while time.monotonic() < until:
        change = chance.choice(CHANGES)
        try:
            with store.write() as writer:
                change(writer, chance)
        except StoreBusy:
            done["busy"] += 1
        else:
            done[change.__name__] += 1


def read_on(store: Store, number: int, until: float, done: Counter[str]) -> None:
    chance = random.Random(number)
    while time.monotonic() < until:
        with store.read() as reader:
            hold(reader, [chance.choice(SAES)])
        done["read"] += 1


def relabel(writer: Writer, chance: random.Random) -> None:
    feature = writer.reader.features(chance.choice(SAES))[chance.choice(LATENTS)]
    writer.put_label(feature.id, labeled(f"topic {chance.randrange(1000)}"), PROVENANCE)


def promote(writer: Writer, chance: random.Random) -> None:
    writer.promote_artifact(chance.choice(SAES))


def give_alias(writer: Writer, chance: random.Random) -> None:
    writer.put_artifact_alias(chance.choice(SAES), chance.choice(("production", "staging")))


def name_feature(writer: Writer, chance: random.Random) -> None:
    feature = writer.reader.features(chance.choice(SAES))[chance.choice(LATENTS)]
    writer.put_alias(feature.id, f"alias {chance.randrange(20)}")


def calibrate(writer: Writer, chance: random.Random) -> None:
    features = writer.reader.features(chance.choice(SAES))
    writer.put_calibrations({each.id: Calibration(strength=chance.random(), dose=0.1) for each in features})


def replace(writer: Writer, chance: random.Random) -> None:
    writer.put_features(chance.choice(SAES), [build_row(latent, chance.choice(("a b", "c d"))) for latent in LATENTS])


CHANGES: tuple[Callable[[Writer, random.Random], None], ...] = (
    relabel, promote, give_alias, name_feature, calibrate, replace,
)  # fmt: skip


def hold(reader: Reader, saes: "list[str] | tuple[str, ...]" = SAES) -> None:
    """What holds of every snapshot."""
    artifacts = reader.artifacts()
    assert sum(each.is_default for each in artifacts) == 1
    aliases = [alias for each in artifacts for alias in each.aliases]
    assert len(aliases) == len(set(aliases))
    for sae in saes:
        features = reader.features(sae)
        assert [each.latent for each in features] == list(LATENTS)
        assert len({each.slug for each in features}) == len(features)
        # All calibrations of an SAE are written at once.
        assert len({each.strength is None for each in features}) == 1
        numbered(reader, features[0])


def numbered(reader: Reader, feature: Feature) -> None:
    """Versions of its label have no gap, and the newest is the one that is shown."""
    versions = reader.details(feature.id).labels
    assert [each.version for each in versions] == list(range(1, len(versions) + 1))
    assert versions[-1].outcome == labeled(feature.label)

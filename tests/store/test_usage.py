"""Which features come first where a check's budget is small."""

from featurehub.runs.usage import most_used
from featurehub.store import Calibration, Scope, Store

A = "a" * 64
LABELS = {1: "pirate: matey, ship", 2: "pirate: ahoy", 3: "banking", 4: "gardening"}


def test_features_of_groups_come_first_then_those_that_steer_best(store: Store, fill) -> None:
    with store.write() as writer:
        ids = fill(writer, LABELS)
        writer.put_group("both", {ids[3]: 1.0, ids[4]: 0.5})
        writer.put_group("other", {ids[4]: 1.0, ids[1]: 0.5})
        writer.put_group("hers", {ids[2]: 1.0, ids[1]: 0.5}, Scope(owner="alice"))
        for latent, steers in ((3, 0.5), (2, 0.9)):
            writer.put_calibration(ids[latent], Calibration(strength=1.0, dose=0.3, steerability=steers))
    with store.read() as reader:
        assert most_used(reader, A) == [4, 3, 1, 2]

"""What a request costs the feature database before it reaches the engine: names resolved, states read, a plan made.

    python tests/benchmarks/planning.py [--features 16384] [--rounds 100]

Statements, and milliseconds of this process's CPU (median, fastest), of plans with 1, 8 and 32 names: on the model that
the SAE was trained on, and on one on which every feature has a verdict. Beside each, the naive twin: the same names one
by one, each with its own state.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import event

from api.model import ServedModel
from api.plan import make_plan
from api.request import SteeringRequest
from api.states import states_of
from featurehub.features import State
from featurehub.records import FeatureRow
from featurehub.settings import Limits
from featurehub.store import Calibration, FeatureSet, Provenance, Store, open_store, save_feature_set
from featurehub.verdicts import DriftReport, FeatureVerdict
from tests.api.conftest import CHECKED, SAE, manifest
from tests.api.models import HOME, model
from tests.labels import labeled

NAMES = (1, 8, 32)
FRESH = State.FRESH


class Cost(NamedTuple):
    statements: int
    median: float
    fastest: float


def filled(path: Path, features: int) -> Store:
    by_hand = Provenance(author="benchmark", method="by hand")
    contents = FeatureSet(
        manifest=manifest(SAE, "large").model_copy(update={"d_sae": features}),
        folder=Path("/nowhere"),
        rows=[FeatureRow(latent=n, density=0.01, max_activation=3.0) for n in range(features)],
        labels={n: (labeled(f"topic number {n}: words of {n % 7}", score=0.9), by_hand) for n in range(features)},
        calibrations={n: Calibration(strength=2.0, dose=0.3, steerability=0.8) for n in range(features)},
    )
    save_feature_set(contents, path)
    states = (FeatureVerdict(latent=n, label="", reads=FRESH, steers=FRESH, reason="") for n in range(features))
    report = DriftReport(
        id="drift", artifact=SAE, model="sibling", fingerprint=model(CHECKED).function, created="", state=FRESH,
        reason="", metrics={}, features=tuple(states),
    )  # fmt: skip
    store = open_store(path)
    with store.write() as writer:
        writer.put_report(report)
    return store


def cost(store: Store, rounds: int, work: Callable[[], object]) -> Cost:
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(store._engine, "before_cursor_execute", note)
    work()
    event.remove(store._engine, "before_cursor_execute", note)
    times = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        times.append(1000 * (time.process_time() - began))
    return Cost(len(statements), statistics.median(times), min(times))


def measure(store: Store, served: ServedModel, names: int, rounds: int) -> tuple[Cost, Cost]:
    asked = SteeringRequest.take({"features": {f"topic number {3 * n}": 0.5 for n in range(names)}}, Limits())

    def plan() -> None:
        with store.read() as reader:
            make_plan(asked, reader, served, Limits())

    def one_by_one() -> None:
        for name in asked.edits:
            with store.read() as reader:
                feature = reader.resolve(name, served.scope)
                states_of(reader, [feature], served)

    return cost(store, rounds, plan), cost(store, max(3, rounds // names), one_by_one)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=16_384)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    print("model     names  statements  median ms  fastest ms  one by one: statements  median ms  times as much")
    with tempfile.TemporaryDirectory() as folder:
        store = filled(Path(folder) / "features.db", options.features)
        for name, whole in (("trained", HOME), ("checked", CHECKED)):
            served = ServedModel(store="", saes=(SAE,), model=model(whole))
            for names in NAMES:
                ours, naive = measure(store, served, names, options.rounds)
                print(
                    f"{name:<9} {names:5}  {ours.statements:10}  {ours.median:9.2f}  {ours.fastest:10.2f}  "
                    f"{naive.statements:22}  {naive.median:9.2f}  {naive.median / ours.median:13.1f}"
                )
        store.close()


if __name__ == "__main__":
    main()

"""What a monitor says of traffic that stays as it is, changes its topics, or leaves what the SAE can express."""

from pathlib import Path

import numpy as np
import pytest

from featurehub.errors import InvalidConfig
from featurehub.input_drift.kept import load, save
from featurehub.input_drift.monitor import ENOUGH, Monitor, TrafficState
from featurehub.input_drift.reference import HIGH
from featurehub.input_drift.sample import BINS, REQUESTS, Sample
from tests.input_drift.traffic import D_SAE, TOKENS, TOPICS, Traffic, shifted

WANTED = 1024
SEEDS = 100


def learned(seed: int, wanted: int = WANTED) -> tuple[Monitor, Traffic]:
    """A monitor that knows what is normal, and the traffic that it learned from."""
    monitor, traffic = Monitor(D_SAE, wanted), Traffic(seed)
    found = [monitor.see(sample) for sample in traffic.samples(wanted // REQUESTS)]
    assert set(found[:-1]) <= {TrafficState.LEARNING}
    assert found[-1] is TrafficState.NORMAL
    return monitor, traffic


def until_alarm(monitor: Monitor, traffic: Traffic, most: int = 400) -> int:
    """How many samples an alarm takes."""
    for taken in range(1, most + 1):
        if monitor.see(traffic.sample()) is not TrafficState.NORMAL:
            return taken
    raise AssertionError(monitor.evidence)


def test_without_a_change_there_is_no_alarm_in_99_of_100_seeds() -> None:
    """100 references of their own, 40,000 tokens each; ``tests/benchmarks/input_drift.py`` takes a million."""
    alarms = 0
    for seed in range(SEEDS):
        monitor, traffic = learned(seed)
        alarms += any(monitor.see(sample) is not TrafficState.NORMAL for sample in traffic.samples(160))
    assert alarms <= 1


def test_other_topics_are_told_from_what_the_sae_cannot_express() -> None:
    monitor, _ = learned(0)
    assert until_alarm(monitor, Traffic(1000, shifted(0.6))) <= 40
    assert monitor.found is TrafficState.TOPICS
    moved = monitor.moved(5)
    # The latents of the first topic, whose requests came more often.
    assert moved
    assert all(each.latent < D_SAE // TOPICS and each.now > 1.5 * each.before for each in moved)
    assert moved == sorted(moved, key=lambda each: -each.evidence)
    strange, _ = learned(1)
    assert until_alarm(strange, Traffic(1001, strange=0.6)) <= 20
    assert strange.found is TrafficState.OUTSIDE
    assert strange.moved(5) == []
    assert strange.recent.error > 3 * HIGH


def test_an_alarm_stays_and_one_about_topics_may_become_the_graver_one() -> None:
    monitor, traffic = learned(2)
    until_alarm(monitor, Traffic(1002, shifted(0.7)))
    assert {monitor.see(sample) for sample in traffic.samples(100)} == {TrafficState.TOPICS}
    for sample in Traffic(1003, strange=0.8).samples(30):
        monitor.see(sample)
    assert monitor.found is TrafficState.OUTSIDE
    assert monitor.evidence[0] >= ENOUGH


def test_other_weights_are_the_model_s_change_and_nothing_is_tested_meanwhile() -> None:
    monitor, traffic = learned(3)
    before = monitor.evidence
    other = Traffic(1004, strange=1.0)
    assert {monitor.see(other.sample("others")) for _ in range(50)} == {TrafficState.MODEL}
    assert monitor.evidence == before
    assert monitor.see(traffic.sample()) is TrafficState.NORMAL
    assert monitor.requests == REQUESTS
    young = Monitor(D_SAE, WANTED)
    young.see(traffic.sample())
    assert young.see(other.sample("others")) is TrafficState.MODEL
    assert young.reference.requests == REQUESTS


@pytest.mark.parametrize("seen", [3, 64, 90])
def test_a_monitor_that_was_saved_goes_on_as_if_it_had_not_been(tmp_path: Path, seen: int) -> None:
    monitor, traffic = Monitor(D_SAE, WANTED), Traffic(4)
    for sample in traffic.samples(seen):
        monitor.see(sample)
    file = tmp_path / "state.npz"
    save(monitor, file)
    again = load(file, D_SAE)
    strange = Traffic(1005, shifted(0.5), strange=0.3)
    for sample in [*traffic.samples(100), *strange.samples(40)]:
        assert again.see(sample) is monitor.see(sample)
    assert again.evidence == monitor.evidence
    assert again.moved(9) == monitor.moved(9)
    assert (again.tokens, again.alarm, again.recent.l0) == (monitor.tokens, monitor.alarm, monitor.recent.l0)
    assert [each.name for each in tmp_path.iterdir()] == ["state.npz"]


def test_a_damaged_file_and_another_sae_s_are_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "state.npz"
    file.write_bytes(b"nothing")
    with pytest.raises(InvalidConfig, match="cannot be read"):
        load(file, D_SAE)
    save(Monitor(D_SAE, WANTED), file)
    with pytest.raises(InvalidConfig, match="another SAE's"):
        load(file, D_SAE + 1)


def test_a_high_error_is_chosen_on_one_half_and_counted_on_the_other() -> None:
    """The second half has no high error at all, by the first half's measure."""
    monitor = Monitor(D_SAE, 4 * REQUESTS)
    low, high = (np.eye(BINS, dtype=np.float32)[at] for at in (10, 20))
    for errors in (low, high, low, low):
        monitor.see(Sample("sae", "w", 256, np.zeros(0, np.int32), np.zeros(0, np.float32), errors, 0.0))
    assert monitor.limits is not None
    assert monitor.limits.high_from == 21
    assert monitor.limits.error == 0


def test_samples_cross_as_plain_types() -> None:
    sample = Traffic(5).sample()
    wire = sample.wire()
    assert {type(value) for value in wire.values()} <= {str, int, float, bytes}
    again = Sample.of(wire)
    assert again.wire() == wire
    np.testing.assert_array_equal(again.dense(D_SAE)[again.latents], sample.rates)
    assert sample.tokens == REQUESTS * TOKENS

"""Rows that are written and read many at once, against a table that is written number by number."""

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from featurehub.edits import Abort, Condition, LatentEdit, Steering, When, digest_of, is_sealed_text
from featurehub.engine.sheet import Column, Sheet
from featurehub.features import Mode
from featurehub.seals import Maker
from tests.engine.seals import has_seal

ROWS = 5
COLUMNS = {
    "ints": Column(3, torch.long, -1),
    "floats": Column(3, torch.float32, 0.5),
    "flags": Column(5, torch.bool),
    "one": Column(1, torch.float32, 2.0),
    "counts": Column(3, torch.float32),
    "times": Column(1, torch.long, 9),
}
NUMBERS = {
    "ints": st.integers(-(2**62), 2**62),
    "floats": st.floats(-1e6, 1e6, width=32),
    "flags": st.booleans(),
    "one": st.floats(-1e6, 1e6, width=32),
}
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["stage", "write", "count", "ask"]),
        st.integers(0, ROWS - 1),
        st.fixed_dictionaries({name: st.lists(each, max_size=COLUMNS[name].size) for name, each in NUMBERS.items()}),
    )
)


def blank() -> dict[str, list[Any]]:
    return {name: [column.blank] * column.size for name, column in COLUMNS.items()}


@given(events=EVENTS)
def test_a_sheet_is_a_table(events: list[Any]) -> None:
    """A staged row replaces the whole row at the next write; what was asked for is what was counted before it."""
    sheet = Sheet(ROWS, COLUMNS, ("counts", "times"), "cpu")
    naive, staged = [blank() for _ in range(ROWS)], dict[int, dict[str, list[Any]]]()
    asked = []
    for kind, row, values in events:
        if kind == "stage":
            draft, staged[row] = sheet.stage(row), blank()
            for name, numbers in values.items():
                draft.put(name, numbers)
                staged[row][name][: len(numbers)] = numbers
        elif kind == "count":
            sheet.column("counts")[row, 1] += 1
            naive[row]["counts"][1] += 1
        elif kind == "write":
            sheet.write()
            for changed, numbers in staged.items():
                naive[changed] = numbers
            staged = {}
        elif row not in staged:
            asked.append((sheet.ask(row), list(naive[row]["counts"]), list(naive[row]["times"])))
            sheet.collect()
    for name in COLUMNS:
        wanted = np.array([row[name] for row in naive])
        np.testing.assert_array_equal(sheet.column(name).numpy(), wanted.astype(sheet.column(name).numpy().dtype))
    for read, counts, times in asked:
        assert (read("counts"), read("times")) == (counts, times)


def test_what_is_asked_for_is_taken_before_the_row_is_written_again() -> None:
    sheet = Sheet(ROWS, COLUMNS, ("counts", "times"), "cpu")
    sheet.column("counts")[2] = 7.0
    read = sheet.ask(2)
    sheet.stage(2)
    sheet.write()
    assert read("counts") == [7.0] * 3
    assert sheet.column("counts")[2].tolist() == [0.0] * 3


TEXTS = st.one_of(st.text(max_size=8), st.sampled_from(['","report":"x', '"}', ',"seal":"']))
STEERINGS = st.builds(
    Steering,
    edits=st.lists(
        st.builds(LatentEdit, sae=TEXTS, latent=st.integers(0, 9), mode=st.sampled_from(Mode)), max_size=2
    ).map(tuple),
    aborts=st.lists(
        st.builds(
            Abort,
            event=TEXTS.filter(bool),
            when=st.just(When(conditions=(Condition(latent=1, value=0.0),))),
        ),
        max_size=1,
    ).map(tuple),
    report=TEXTS,
    nonce=TEXTS,
)  # fmt: skip


@given(steering=STEERINGS, report=TEXTS, nonce=TEXTS, seal=TEXTS)
def test_a_text_s_seal_and_digest_are_those_of_what_it_says(
    steering: Steering, report: str, nonce: str, seal: str
) -> None:
    """Neither writes the steering out again, as the naive ones do."""
    text = steering.to_sealed(Maker.ADMISSION)
    read = Steering.read(text)
    assert has_seal(read, Maker.ADMISSION)
    assert is_sealed_text(text, Maker.ADMISSION)
    assert not is_sealed_text(text, Maker.REQUEST)
    for forged in (replace(read, seal=seal), replace(read, nonce=nonce + "x")):
        assert is_sealed_text(forged.to_json(), Maker.ADMISSION) == has_seal(forged, Maker.ADMISSION)
    other = replace(steering, report=report, nonce=nonce)
    assert digest_of(text) == digest_of(other.to_json())
    assert digest_of(text) != digest_of(replace(other, dose_max=0.5).to_json())

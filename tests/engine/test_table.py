"""Edits as table rows: which tokens run under which row, what is counted, what a freed row leaves behind."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from featurehub.dictionary import Dictionary
from featurehub.engine.report import SteerReport
from featurehub.engine.table import REPORTS_KEPT, EditTable, Span, Step
from featurehub.errors import InvalidEdit
from featurehub.features import LatentEdit, Mode, Positions, Steering

D_MODEL, D_SAE = 8, 12
NUDGE = LatentEdit(latent=3, mode=Mode.NUDGE, value=2.0)
PIN = LatentEdit(latent=5, mode=Mode.PIN, value=4.0)
ABLATE = LatentEdit(latent=7, mode=Mode.ABLATE)


def dictionary() -> Dictionary:
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(D_SAE, D_MODEL, generator=generator)
    return Dictionary(W.clone(), W, torch.zeros(D_SAE), torch.zeros(D_MODEL), torch.zeros(D_SAE))


def table(max_reqs: int = 4, max_edits: int = 3) -> EditTable:
    return EditTable(dictionary(), max_reqs, max_edits)


def steering(*edits: LatentEdit, report: str = "", positions: Positions = Positions.ALL) -> Steering:
    return Steering(hook="sae", edits=edits, report=report, positions=positions)


def run(table: EditTable, step: Step, dose: float = 0.5) -> None:
    """What the op would count."""
    ones = torch.ones(len(step.tokens), dtype=torch.float64)
    table.counts[:, 0].index_add_(0, step.rows, ones)
    table.counts[:, 1].index_add_(0, step.rows, dose * ones)
    table.counts[:, 2].scatter_reduce_(0, step.rows, dose * ones, "amax")


@given(
    start=st.integers(0, 50),
    tokens=st.integers(1, 12),
    position=st.integers(0, 20),
    prompt_len=st.integers(0, 25),
    positions=st.sampled_from(Positions),
)
def test_a_token_is_prompt_or_generated_by_its_position_alone(
    start: int, tokens: int, position: int, prompt_len: int, positions: Positions
) -> None:
    edits = table()
    row = edits.admit(steering(NUDGE, positions=positions))
    step = edits.schedule([(row, Span("r", start, tokens, position, prompt_len))])
    wanted = {
        Positions.ALL: lambda at: True,
        Positions.PROMPT: lambda at: at < prompt_len,
        Positions.GENERATED: lambda at: at >= prompt_len,
    }[positions]
    assert step.tokens.tolist() == [start + i for i in range(tokens) if wanted(position + i)]
    assert step.rows.tolist() == [row] * len(step.tokens)
    assert edits.expected[row] == len(step.tokens)


@given(cuts=st.lists(st.integers(1, 5), min_size=1, max_size=6), prompt_len=st.integers(0, 20))
def test_chunks_of_a_request_steer_the_tokens_that_one_step_would(cuts: Sequence[int], prompt_len: int) -> None:
    for positions in Positions:
        edits = table()
        row = edits.admit(steering(NUDGE, positions=positions))
        whole = edits.schedule([(row, Span("r", 0, sum(cuts), 0, prompt_len))])
        chunked, position = [], 0
        for tokens in cuts:
            step = edits.schedule([(row, Span("r", 0, tokens, position, prompt_len))])
            chunked += [position + offset for offset in step.tokens.tolist()]
            position += tokens
        assert chunked == whole.tokens.tolist()


def test_a_step_without_requests_is_empty() -> None:
    step = table().schedule([])
    assert len(step.tokens) == len(step.rows) == 0
    assert not step.affine


def test_only_edits_that_read_their_latent_make_a_step_affine() -> None:
    edits = table()
    nudged, ablated = edits.admit(steering(NUDGE)), edits.admit(steering(NUDGE, ABLATE))
    span = Span("r", 0, 2, 0, 2)
    assert not edits.schedule([(nudged, span)]).affine
    assert edits.schedule([(nudged, span), (ablated, span)]).affine


@pytest.mark.parametrize(
    "nothing",
    [
        (),
        (LatentEdit(latent=3, mode=Mode.NUDGE, value=0.0),),
        (LatentEdit(latent=3, mode=Mode.MUL, value=1.0), LatentEdit(latent=4, mode=Mode.NUDGE, value=-0.0)),
    ],
)
def test_edits_that_come_to_nothing_get_the_row_of_nobody_and_a_report_of_zeros(
    nothing: tuple[LatentEdit, ...],
) -> None:
    edits = table()
    free = list(edits.free)
    assert edits.admit(steering(*nothing, report="r")) == 0
    assert edits.free == free
    assert edits.report("r") == SteerReport()


def test_pin_to_zero_and_ablate_are_edits() -> None:
    edits = table()
    assert edits.admit(steering(LatentEdit(latent=1, mode=Mode.PIN, value=0.0))) != 0
    assert edits.admit(steering(ABLATE)) != 0


def test_a_freed_row_is_as_if_it_had_never_been_used() -> None:
    edits, fresh = table(max_reqs=1), table(max_reqs=1)
    row = edits.admit(steering(PIN, ABLATE, NUDGE, report="first"))
    run(edits, edits.schedule([(row, Span("r", 0, 5, 0, 5))]))
    edits.release(row)
    for name in ("latent", "alpha", "beta", "nudge", "counts"):
        assert torch.equal(getattr(edits, name), getattr(fresh, name)), name
    assert edits.free == fresh.free
    again, first = edits.admit(steering(NUDGE, report="second")), fresh.admit(steering(NUDGE))
    for name in ("latent", "alpha", "beta", "nudge", "counts", "dose_max"):
        assert torch.equal(getattr(edits, name)[again], getattr(fresh, name)[first]), name
    assert not edits.schedule([(again, Span("r", 0, 1, 0, 1))]).affine
    edits.release(again)
    assert edits.report("first") == SteerReport(steered_tokens=0 + 5, expected_tokens=5, dose_mean=0.5, dose_max=0.5)
    assert edits.report("second") == SteerReport(steered_tokens=0, expected_tokens=1)


@given(st.lists(st.booleans(), max_size=40))
def test_rows_in_use_are_distinct_and_all_come_back(admissions: list[bool]) -> None:
    edits = table(max_reqs=8)
    used: list[int] = []
    for admit in admissions:
        if admit and len(used) < 8:
            used.append(edits.admit(steering(NUDGE)))
        elif used:
            edits.release(used.pop(0))
        assert len(set(used)) == len(used)
        assert 0 not in used
        assert sorted([*used, *edits.free]) == list(range(1, 9))


def test_reports_of_requests_with_one_key_add_up() -> None:
    edits = table()
    rows = [edits.admit(steering(NUDGE, report="shared")) for _ in range(2)]
    run(edits, edits.schedule([(rows[0], Span("a", 0, 3, 0, 3))]), dose=0.2)
    run(edits, edits.schedule([(rows[1], Span("b", 0, 1, 0, 1))]), dose=0.6)
    edits.release(rows[0])
    report = edits.report("shared")
    assert report is not None
    assert (report.steered_tokens, report.expected_tokens) == (4, 4)
    assert report.dose_mean == pytest.approx((3 * 0.2 + 0.6) / 4)
    assert report.dose_max == pytest.approx(0.6)


def test_a_request_that_still_runs_reports_what_it_came_to_so_far_and_only_once() -> None:
    edits = table()
    row = edits.admit(steering(NUDGE, report="r"))
    run(edits, edits.schedule([(row, Span("r", 0, 3, 0, 3))]))
    report = edits.report("r")
    assert report is not None
    assert report.steered_tokens == 3
    edits.release(row)
    assert edits.report("r") is None
    assert edits.report("") is None
    assert not edits.reports


def test_a_lost_token_shows_as_a_difference_between_steered_and_expected() -> None:
    edits = table()
    row = edits.admit(steering(NUDGE, report="r"))
    edits.schedule([(row, Span("r", 0, 3, 0, 3))])
    edits.release(row)
    report = edits.report("r")
    assert report is not None
    assert (report.steered_tokens, report.expected_tokens) == (0, 3)


def test_reports_that_nobody_fetches_are_bounded() -> None:
    edits = table()
    for i in range(REPORTS_KEPT + 10):
        edits.admit(steering(report=f"r{i}"))
    assert len(edits.reports) == REPORTS_KEPT
    assert edits.report("r0") is None
    assert edits.report(f"r{REPORTS_KEPT + 9}") == SteerReport()


@pytest.mark.parametrize(
    ("edits", "named"),
    [
        ((NUDGE,) * 4, "4 edits"),
        ((LatentEdit(latent=D_SAE, mode=Mode.NUDGE, value=1.0),), f"latent {D_SAE}"),
        ((LatentEdit(latent=0, mode=Mode.NUDGE, value=1e39),), "1e+39"),
        ((LatentEdit(latent=0, mode=Mode.PIN, value=-1e30),), "-1e+30"),
    ],
    ids=["too many", "no such latent", "not a float32", "its square is not a float32"],
)
def test_an_invalid_edit_is_refused_by_name_and_takes_no_row(edits: tuple[LatentEdit, ...], named: str) -> None:
    rows = table()
    with pytest.raises(InvalidEdit, match=named.replace("+", r"\+")):
        rows.admit(steering(*edits))
    assert len(rows.free) == 4
    assert not rows.nudge.any()


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", '"NaN"'])
def test_nan_and_infinity_never_cross_into_the_engine(value: str) -> None:
    wire = '{"hook": "sae", "edits": [{"latent": 1, "mode": "nudge", "value": %s}]}'
    assert Steering.model_validate_json(wire % "1.5").edits[0].value == 1.5
    with pytest.raises(ValidationError):
        Steering.model_validate_json(wire % value)
    with pytest.raises(ValidationError):
        Steering.model_validate_json(f'{{"hook": "sae", "dose_max": {value}}}')


@given(
    st.builds(
        Steering,
        hook=st.text(max_size=8),
        edits=st.lists(
            st.builds(
                LatentEdit,
                latent=st.integers(0, 1000),
                mode=st.sampled_from(Mode),
                value=st.floats(allow_nan=False, allow_infinity=False),
            ),
            max_size=4,
        ).map(tuple),
        positions=st.sampled_from(Positions),
        dose_max=st.floats(0.001, 100),
        top_k=st.integers(0, 64),
        capture=st.booleans(),
    )
)
def test_a_steering_crosses_as_json_unchanged(asked: Steering) -> None:
    assert Steering.model_validate_json(asked.to_json()) == asked


def test_the_salt_depends_on_what_changes_the_stream_and_on_nothing_else() -> None:
    assert steering().salt() == ""
    assert steering(NUDGE, report="a").salt() == steering(NUDGE, report="b").salt() != ""
    other = [
        steering(PIN), steering(NUDGE, positions=Positions.PROMPT), Steering(hook="other", edits=(NUDGE,)),
        Steering(hook="sae", edits=(NUDGE,), dose_max=0.5),
    ]  # fmt: skip
    assert len({each.salt() for each in [steering(NUDGE), *other]}) == 5
    reading = [Steering(hook="sae", top_k=3, report=key).salt() for key in "ab"]
    assert reading[0] != reading[1]

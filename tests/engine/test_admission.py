"""What happens to a request at the engine's boundary: refused with the reason, or salted and made stoppable."""

from pathlib import Path
from typing import Any

import pytest
from vllm.sampling_params import SamplingParams, StructuredOutputsParams
from vllm.v1.engine import EngineCoreRequest

from featurehub.edits import Abort, Condition, LatentEdit, Read, Steering, When
from featurehub.engine.admission import admit
from featurehub.engine.config import KEY, EngineConfig
from featurehub.errors import InvalidEdit
from featurehub.features import Mode

EOS = 9
NUDGE = Steering(edits=(LatentEdit(latent=3, mode=Mode.NUDGE, value=5.0),))
GUARD = Steering(aborts=(Abort(event="e", when=When(conditions=(Condition(latent=1, value=0.5),))),))
READ = Steering(reads=(Read(top_k=2),), report="r")


@pytest.fixture(scope="module")
def config(world_config: EngineConfig) -> EngineConfig:
    return world_config.model_copy(update={"weights": "w1"})


def request(carried: Any, name: str = "one", salt: str | None = None, **sampling: Any) -> EngineCoreRequest:
    text = carried.to_json() if isinstance(carried, Steering) else carried
    params = SamplingParams(extra_args={KEY: text} if text is not None else None, **sampling)
    return EngineCoreRequest(
        request_id=name, prompt_token_ids=[1, 2], mm_features=None, sampling_params=params, pooling_params=None,
        arrival_time=0.0, lora_request=None, cache_salt=salt, data_parallel_rank=None,
    )  # fmt: skip


def salted(config: EngineConfig, *args: Any, **kwargs: Any) -> str | None:
    made = request(*args, **kwargs)
    admit(made, config, EOS)
    return made.cache_salt


def carried_by(made: EngineCoreRequest) -> Steering:
    assert made.sampling_params is not None
    return Steering.model_validate_json((made.sampling_params.extra_args or {})[KEY])


def test_requests_that_ask_for_nothing_keep_their_own_salt(config: EngineConfig) -> None:
    for nothing in (None, Steering(), Steering(report="r")):
        assert salted(config, nothing) is None
        assert salted(config, nothing, salt="tenant") == "tenant"


def test_equal_steerings_share_blocks_and_nothing_else_does(config: EngineConfig) -> None:
    named = NUDGE.model_copy(update={"edits": (NUDGE.edits[0].model_copy(update={"sae": "a"}),), "report": "other"})
    assert salted(config, NUDGE) == salted(config, named, name="two")
    other = [
        salted(config, NUDGE, salt="tenant"),
        salted(config.model_copy(update={"weights": "w2"}), NUDGE),
        salted(config, NUDGE.model_copy(update={"dose_max": 0.5})),
        salted(config, NUDGE.model_copy(update={"edits": (NUDGE.edits[0].model_copy(update={"sae": "b"}),)})),
        None,
    ]
    assert len({salted(config, NUDGE), *other}) == 6
    assert all(len(salt) <= 128 and salt.isalnum() for salt in other if salt)


@pytest.mark.parametrize("steering", [READ, GUARD])
def test_what_needs_every_token_shares_blocks_with_no_other_request(config: EngineConfig, steering: Steering) -> None:
    assert salted(config, steering, name="one") != salted(config, steering, name="two")


def test_an_abort_can_end_the_answer(config: EngineConfig) -> None:
    made = request(GUARD, stop_token_ids=[4])
    admit(made, config, EOS)
    assert made.sampling_params is not None
    assert made.sampling_params.stop_token_ids == [4, EOS]
    assert carried_by(made).stop_token == EOS


@pytest.mark.parametrize(
    ("carried", "eos", "sampling", "named"),
    [
        ("not json", EOS, {}, "is no steering"),
        (7, EOS, {}, "JSON string"),
        ('{"edits": [{"latent": 1, "mode": "nudge", "value": 1, "strange": 1}]}', EOS, {}, "strange"),
        (NUDGE.model_copy(update={"edits": NUDGE.edits * 7}), EOS, {}, "7 edits"),
        (READ.model_copy(update={"report": ""}), EOS, {}, "report key"),
        (READ, EOS, {"n": 2}, "n = 1"),
        (GUARD, None, {}, "end-of-sequence"),
        (GUARD, EOS, {"ignore_eos": True}, "end-of-sequence"),
        (GUARD, EOS, {"structured_outputs": StructuredOutputsParams(json="{}")}, "structure"),
    ],
)
def test_what_cannot_be_done_is_a_value_error_that_says_why(
    config: EngineConfig, carried: Any, eos: int | None, sampling: dict[str, Any], named: str
) -> None:
    """A ValueError, since vLLM's server answers that with HTTP 400."""
    with pytest.raises(InvalidEdit, match=named) as raised:
        admit(request(carried, **sampling), config, eos)
    assert isinstance(raised.value, ValueError)


def test_the_folder_of_an_sae_does_not_matter_to_the_salt(config: EngineConfig) -> None:
    hooks = tuple(
        hook.model_copy(update={"saes": tuple(s.model_copy(update={"folder": Path("/elsewhere")}) for s in hook.saes)})
        for hook in config.hooks
    )
    assert salted(config.model_copy(update={"hooks": hooks}), NUDGE) == salted(config, NUDGE)

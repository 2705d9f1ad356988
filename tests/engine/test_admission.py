"""What happens to a request at the engine's boundary: refused with the reason, or salted and made stoppable."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from vllm.lora.request import LoRARequest
from vllm.sampling_params import SamplingParams, StructuredOutputsParams
from vllm.v1.engine import EngineCoreRequest

from featurehub.artifacts.manifest import HookPoint
from featurehub.conditions import Positions
from featurehub.edits import Abort, Condition, LatentEdit, Read, Steering, When
from featurehub.engine.admission import admit
from featurehub.engine.config import KEY, EngineConfig
from featurehub.errors import InvalidEdit
from featurehub.features import Mode
from featurehub.seals import Maker
from tests.engine.seals import has_seal, sealed

EOS = 9
NUDGE = Steering(edits=(LatentEdit(latent=3, mode=Mode.NUDGE, value=5.0),))
GUARD = Steering(aborts=(Abort(event="e", when=When(conditions=(Condition(latent=1, value=0.5),))),))
READ = Steering(reads=(Read(top_k=2),), report="r")
SO_FAR = When(conditions=(Condition(latent=1, value=0.5, so_far=True),))
LASTING = Steering(edits=(replace(NUDGE.edits[0], when=SO_FAR),))
CAPTURE = Steering(capture=("layers.1.resid_post",), report="r")


@pytest.fixture(scope="module")
def config(world_config: EngineConfig) -> EngineConfig:
    return world_config.model_copy(update={"weights": "w1"})


def request(
    carried: Any, name: str = "one", salt: str | None = None, tokens: int = 2, lora: Any = None, **sampling: Any
) -> EngineCoreRequest:
    text = carried.to_request() if isinstance(carried, Steering) else carried
    params = SamplingParams(extra_args={KEY: text} if text is not None else None, **sampling)
    return EngineCoreRequest(
        request_id=name, prompt_token_ids=[1] * tokens, mm_features=None, sampling_params=params, pooling_params=None,
        arrival_time=0.0, lora_request=lora, cache_salt=salt, data_parallel_rank=None,
    )  # fmt: skip


def salted(config: EngineConfig, *args: Any, **kwargs: Any) -> str | None:
    made = request(*args, **kwargs)
    admit(made, config, EOS)
    return made.cache_salt


def carried_by(made: EngineCoreRequest) -> Steering:
    assert made.sampling_params is not None
    return Steering.read((made.sampling_params.extra_args or {})[KEY])


def test_requests_that_ask_for_nothing_share_blocks_with_all_of_their_tenant_that_do(config: EngineConfig) -> None:
    for nothing in (None, Steering(), Steering(report="r")):
        assert salted(config, nothing) is None
        assert salted(config, nothing, salt="tenant", tokens=9) == salted(config, None, salt="tenant")
        assert salted(config, nothing, salt="tenant") not in (None, salted(config, nothing, salt="another"))


def test_a_client_that_names_the_salt_of_steered_blocks_does_not_share_them(config: EngineConfig) -> None:
    """Else its plain blocks would be taken for steered ones."""
    steered = salted(config, NUDGE)
    assert salted(config, None, salt=steered) != steered


def test_equal_steerings_share_blocks_and_nothing_else_does(config: EngineConfig) -> None:
    named = replace(NUDGE, edits=(replace(NUDGE.edits[0], sae="a"),), report="other")
    assert salted(config, NUDGE) == salted(config, named, name="two")
    other = [
        salted(config, NUDGE, salt="tenant"),
        salted(config.model_copy(update={"weights": "w2"}), NUDGE),
        salted(config, replace(NUDGE, dose_max=0.5)),
        salted(config, replace(NUDGE, edits=(replace(NUDGE.edits[0], sae="b"),))),
        None,
    ]
    assert len({salted(config, NUDGE), *other}) == 6
    assert all(len(salt) <= 128 and salt.isalnum() for salt in other if salt)


def test_blocks_are_shared_across_prompts_where_the_end_of_a_prompt_changes_nothing(config: EngineConfig) -> None:
    """In a chat's next turn, tokens of the last answer are prompt."""
    for positions in Positions:
        steering = replace(NUDGE, positions=positions)
        assert salted(config, steering, tokens=5) == salted(config, steering, tokens=5)
        assert (salted(config, steering, tokens=5) == salted(config, steering, tokens=9)) is (positions == "all")


def test_an_sae_at_another_hook_point_shares_nothing(config: EngineConfig) -> None:
    first, *others = config.hooks
    moved = first.model_copy(update={"point": HookPoint(layer=0)})
    assert salted(config.model_copy(update={"hooks": (moved, *others)}), NUDGE) != salted(config, NUDGE)


@pytest.mark.parametrize("steering", [READ, GUARD, LASTING, CAPTURE])
def test_what_needs_every_token_shares_blocks_with_no_other_request(config: EngineConfig, steering: Steering) -> None:
    """Not even with one that has its id: clients choose ids."""
    salts = [salted(config, steering, name="one", salt=salt) for salt in (None, None, "tenant")]
    assert len(set(salts)) == 3


@pytest.mark.parametrize(
    ("steering", "n", "skips"), [(READ, 2, True), (LASTING, 3, True), (READ, 1, False), (NUDGE, 2, False)]
)
def test_nor_do_its_own_answers_share_any(config: EngineConfig, steering: Steering, n: int, skips: bool) -> None:
    """They have one salt: what is not to be taken from the cache is not read there."""
    made = request(steering, n=n)
    admit(made, config, EOS)
    assert made.sampling_params is not None
    assert bool(made.sampling_params.skip_reading_prefix_cache) is skips


def test_a_steered_request_under_an_adapter_shares_blocks_with_none(config: EngineConfig) -> None:
    """An adapter may be loaded again under its name and path."""
    adapter = LoRARequest("ft", 1, "/adapters/ft")
    assert salted(config, NUDGE, lora=adapter) != salted(config, NUDGE, lora=adapter)
    assert salted(config, None, lora=adapter) is None


def test_an_abort_can_end_the_answer(config: EngineConfig) -> None:
    made = request(GUARD, stop_token_ids=[4])
    admit(made, config, EOS)
    assert made.sampling_params is not None
    assert made.sampling_params.stop_token_ids == [4, EOS]
    assert carried_by(made).stop_token == EOS


def test_every_admission_is_sealed_and_tells_requests_of_one_id_apart(config: EngineConfig) -> None:
    made = [request(NUDGE, name="one") for _ in range(2)]
    for each in made:
        admit(each, config, EOS)
        assert has_seal(carried_by(each), Maker.ADMISSION)
    assert carried_by(made[0]).nonce != carried_by(made[1]).nonce


def test_a_steering_that_a_client_wrote_is_refused_whatever_it_claims(config: EngineConfig) -> None:
    """As ``extra_args`` of any route that takes whole sampling parameters."""
    good = sealed(NUDGE, Maker.REQUEST)
    stolen = replace(good, dose_max=1000.0)
    wrong = replace(NUDGE, seal="ä")
    for forged in (NUDGE, CAPTURE, Steering(), stolen, wrong, sealed(NUDGE, Maker.ADMISSION)):
        with pytest.raises(InvalidEdit, match="name features in the request's body"):
            admit(request(forged.to_json()), config, EOS)
    admit(request(good.to_json()), config, EOS)


@pytest.mark.parametrize(
    ("carried", "eos", "sampling", "named"),
    [
        ("not json", EOS, {}, "is not a steering"),
        (7, EOS, {}, "JSON string"),
        ('{"edits": [{"latent": 1, "mode": "nudge", "value": 1, "strange": 1}]}', EOS, {}, "strange"),
        (replace(NUDGE, edits=NUDGE.edits * 7), EOS, {}, "7 edits"),
        (replace(READ, report=""), EOS, {}, "report key"),
        (CAPTURE, EOS, {"n": 2}, "n = 1"),
        (GUARD, None, {}, "end-of-sequence"),
        (GUARD, EOS, {"ignore_eos": True}, "end-of-sequence"),
        (GUARD, EOS, {"min_tokens": 3}, "min_tokens"),
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

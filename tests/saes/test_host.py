"""Every family of transformers at every site: what is read adds up to the stream, and what is changed flows on."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel

from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.errors import UnsupportedModel
from featurehub.families import ARCHITECTURES
from saes.host import Change, Host, load_host
from tests.engine.random_models import CASES, save_model

pytestmark = pytest.mark.transformers

IDS = torch.tensor([[5, 9, 20, 31, 7], [3, 60, 61, 2, 90]])
Streams = dict[Site, Tensor]
NEXT = HookPoint(layer=2, site=Site.RESID_PRE)


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    folder = tmp_path_factory.mktemp(request.param)
    save_model(CASES[request.param], folder)
    return load_host(folder, HookPoint(layer=0)).model


def points(model: nn.Module) -> list[HookPoint]:
    """Of layer 1, with what comes behind it."""
    sites = [site for site in Site if site in CASES[type(model).__name__].sites]
    return [*(HookPoint(layer=1, site=site) for site in sites), NEXT]


def test_what_is_changed_behind_the_final_norm_is_what_the_head_reads(model: Any) -> None:
    point, ids = HookPoint(layer=2, site=Site.FINAL_NORM), IDS[:1]
    with Host(model, point).changing(torch.zeros_like):
        found = Host(model, point).log_probabilities(ids)
    torch.testing.assert_close(found, found[:, :1].expand_as(found))
    with pytest.raises(
        UnsupportedModel, match=r"layers\.1\.final_norm: the final norm stands behind the last layer, 2"
    ):
        Host(model, HookPoint(layer=1, site=Site.FINAL_NORM))


def read(
    model: nn.Module, changed: HookPoint | None = None, change: Change = torch.clone
) -> Mapping[HookPoint, Tensor]:
    """The stream at every point, under a change at one of them."""
    seen: dict[HookPoint, Tensor] = {}

    def reader(point: HookPoint) -> Change:
        def look(x: Tensor) -> Tensor:
            seen[point] = x.clone()
            return x

        return look

    with ExitStack() as stack:
        for point in points(model):
            if point == changed:
                stack.enter_context(Host(model, point).changing(change))
            stack.enter_context(Host(model, point).changing(reader(point)))
        Host(model, NEXT).log_probabilities(IDS)
    return seen


def sums(model: nn.Module) -> Iterator[tuple[HookPoint, list[HookPoint]]]:
    """What the stream at a point is the sum of, unless it is changed there."""
    at = {point.site: point for point in points(model)[:-1]}
    if Site.RESID_MID in at:
        yield at[Site.RESID_MID], [at[Site.RESID_PRE], at[Site.ATTN_OUT]]
        yield at[Site.RESID_POST], [at[Site.RESID_MID], at[Site.MLP_OUT]]
    else:
        yield at[Site.RESID_POST], [at[Site.RESID_PRE], at[Site.ATTN_OUT], at[Site.MLP_OUT]]
    yield NEXT, [at[Site.RESID_POST]]


def test_the_stream_between_layers_is_what_transformers_calls_hidden_states(model: Any) -> None:
    with torch.no_grad():
        hidden = model(IDS, output_hidden_states=True).hidden_states
    seen = read(model)
    for point, wanted in ((points(model)[0], hidden[1]), (NEXT, hidden[2])):
        torch.testing.assert_close(seen[point].view_as(wanted), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("site", Site)
def test_what_is_changed_at_a_site_flows_on_and_nothing_else_does(model: nn.Module, site: Site) -> None:
    changed = HookPoint(layer=1, site=site)
    if changed not in points(model):
        with pytest.raises(
            UnsupportedModel, match=r"side by side|experts have neurons|the last layer|routers of transformers"
        ):
            Host(model, changed)
        return
    before = read(model)
    added = torch.randn(before[changed].shape, generator=torch.Generator().manual_seed(1))
    after = read(model, changed, lambda x: x + added)
    torch.testing.assert_close(after[changed], before[changed] + added)
    order = points(model)
    for point in order[: order.index(changed)]:
        torch.testing.assert_close(after[point], before[point])
    assert not torch.allclose(after[NEXT], before[NEXT])
    for point, parts in sums(model):
        if point != changed:
            whole = torch.stack([after[part].flatten() for part in parts]).sum(dim=0)
            torch.testing.assert_close(after[point].flatten(), whole, rtol=1e-4, atol=1e-4)


def test_when_the_block_ends_the_model_is_as_it_was(model: nn.Module) -> None:
    host = Host(model, HookPoint(layer=1))
    before = host.log_probabilities(IDS)
    with host.changing(torch.zeros_like):
        assert not torch.allclose(host.log_probabilities(IDS), before)
    torch.testing.assert_close(host.log_probabilities(IDS), before, rtol=0, atol=0)


def test_a_layer_that_the_model_does_not_have_is_refused(model: nn.Module) -> None:
    with pytest.raises(UnsupportedModel, match="layers 0 to 2"):
        Host(model, HookPoint(layer=3))


def test_an_architecture_without_a_row_is_refused_by_name() -> None:
    config = LlamaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    with pytest.raises(UnsupportedModel, match="LlamaModel"):
        Host(LlamaModel(config), HookPoint(layer=0))

"""sae-lens' registry, as we read it and as sae-lens does. Nothing is fetched, and what it says comes true on files."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from sae_lens.loading.pretrained_sae_loaders import NAMED_PRETRAINED_SAE_CONFIG_GETTERS, _infer_gemma_3_raw_cfg_dict
from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

from featurehub import architectures
from featurehub.architectures import Status, Support
from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.errors import InvalidInput
from saes.formats.catalog import READ, CatalogEntry, Obstacle, catalog, described
from saes.formats.hooks import hook_point
from saes.formats.models import MODELS
from saes.formats.recognise import read_sae
from saes.formats.registry import Entry, Release, registry
from saes.formats.source import fetch
from tests.saes.written import (
    Written,
    dictionary_learning,
    gemma_scope,
    gemma_scope_2,
    goodfire,
    llama_scope,
    llama_scope_r1,
    of_heads,
    qresearch,
    qwen_scope,
    snapshot,
)


@pytest.fixture(scope="module")
def entries() -> list[CatalogEntry]:
    return list(catalog())


def test_the_list_is_read_as_sae_lens_reads_it() -> None:
    theirs = get_pretrained_saes_directory()
    assert list(registry()) == list(theirs)
    for name, release in registry().items():
        told = theirs[name]
        assert (release.repository, release.model) == (told.repo_id, told.model)
        assert release.loader == (told.conversion_func or "sae_lens")
        assert release.overrides == (told.config_overrides or {})
        assert {id: entry.path for id, entry in release.entries.items()} == told.saes_map
        assert {i: e.scale for i, e in release.entries.items() if e.scale is not None} == told.norm_scaling_factor


def test_it_is_walked_whole_and_without_what_reads_weights(entries: list[CatalogEntry]) -> None:
    assert len(entries) == sum(len(release.entries) for release in registry().values()) > 13_000
    assert all(entry.hook is not None for entry in entries if entry.unreadable is None)
    heavy = (
        "import sys; from saes.formats.catalog import described; "
        "print({'torch', 'vllm', 'transformers', 'numpy', 'sae_lens'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_model_that_it_names_has_an_architecture_that_exists() -> None:
    assert set(MODELS) == {release.model for release in registry().values()}
    assert set(MODELS.values()) <= set(dir(transformers))


def their_place(release: Release, entry: Entry) -> str | None:
    """The hook point that sae-lens' loader finds in the names; None where it has to fetch a file."""
    get = NAMED_PRETRAINED_SAE_CONFIG_GETTERS
    if release.loader == "gemma_3":
        told = _infer_gemma_3_raw_cfg_dict(release.repository, entry.path)
        return told["hf_hook_point_out"] if "hf_hook_point_out" in told else told["hf_hook_point_in"]
    if release.loader in ("gemma_2", "qwen_scope", "goodfire", "deepseek_r1", "gemma_2_transcoder"):
        told: dict[str, Any] = get[release.loader](release.repository, entry.path, "cpu", False, None)
        return told.get("hook_name_out", told["hook_name"])
    return None


def hook_of(place: str) -> HookPoint | None:
    if place == "hook_embed":
        return HookPoint(layer=0, site=Site.RESID_PRE)
    try:
        return hook_point(place)
    except InvalidInput:
        return None


def test_hook_points_are_where_sae_lens_finds_them(entries: list[CatalogEntry]) -> None:
    compared = set()
    for entry in entries:
        release = registry()[entry.release]
        place = their_place(release, release.entries[entry.id])
        if place is None:
            continue
        compared.add(release.loader)
        if entry.unreadable is not None and entry.unreadable.kind == "transcoder":
            assert "mlp_out" in place or "post_feedforward" in place
        else:
            assert entry.hook == hook_of(place), entry
            assert (entry.unreadable is None) == (entry.hook is not None)
    assert compared == {"gemma_2", "gemma_3", "qwen_scope", "goodfire", "deepseek_r1", "gemma_2_transcoder"}


REAL: dict[str, Callable[[Path], Written]] = {
    "gemma-scope-2b-pt-mlp-canonical/layer_20/width_16k/canonical": gemma_scope,
    "gemma-scope-9b-pt-res/layer_12/width_16k/average_l0_19": gemma_scope,
    "gemma-scope-2b-pt-res/embedding/width_4k/average_l0_6": gemma_scope,
    "gemma-scope-2b-pt-att/layer_20/width_16k/average_l0_62": gemma_scope,
    "gemma-scope-2-1b-pt-res/layer_17_width_16k_l0_big": gemma_scope_2,
    "gemma-scope-2-1b-pt-att/layer_17_width_16k_l0_big": gemma_scope_2,
    "gpt2-small-hook-z-kk/blocks.5.hook_z": of_heads,
    "gemma-scope-2-270m-it-mlp-all/layer_3_width_262k_l0_small": gemma_scope_2,
    "llama_scope_lxm_8x/l15m_8x": llama_scope,
    "llama_scope_r1_distill/l15r_800m_slimpajama": llama_scope_r1,
    "llama-3.1-8b-instruct-andyrdt/resid_post_layer_3_trainer_1": lambda r: dictionary_learning(r, "BatchTopKSAE"),
    "goodfire-llama-3.1-8b-instruct/layer_19": goodfire,
    "deepseek-r1-distill-llama-8b-qresearch/blocks.19.hook_resid_post": qresearch,
    "qwen-scope-3.5-9b-base-w64k-l50/layer5": qwen_scope,
}
NAMED = (gemma_scope_2, qwen_scope)
"""Written with a configuration of another model, which is taken away: the names say it too."""


@pytest.mark.parametrize("name", REAL)
def test_what_is_said_to_be_read_is_read_and_at_the_hook_point_that_is_said(
    name: str, cache: Path, tmp_path: Path
) -> None:
    called, _, id = name.partition("/")
    release = registry()[called]
    root, written = snapshot(cache, release.repository), REAL[name](tmp_path / "written")
    place = root / release.entries[id].path
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(written.path, place)
    for config in place.glob("config.json") if REAL[name] in NAMED else ():
        config.unlink()
    said, source = described(release, id), fetch(name)
    imported = read_sae(source.path, source.overrides)[1]
    assert said.unreadable is None
    assert imported.hook == said.hook
    if REAL[name] in NAMED:
        assert imported.model.rpartition("/")[2] == release.model.rpartition("/")[2]


def test_whatever_cannot_be_read_is_refused_before_anything_is_fetched(
    entries: list[CatalogEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", None)
    kinds = {entry.unreadable: entry for entry in entries if entry.unreadable is not None}
    assert {obstacle.kind for obstacle in kinds} == {"transcoder", "temporal", "normalized"}
    for obstacle, entry in kinds.items():
        with pytest.raises(InvalidInput) as refused:
            fetch(f"{entry.release}/{entry.id}")
        assert obstacle.reason in refused.value.message
        assert "featurehub saes catalog" in refused.value.message


def release_of(loader: str, model: str = "gpt2-small", **overrides: str) -> Release:
    return Release("made", "someone/saes", model, loader, overrides, {"blocks.3.hook_resid_mid": Entry("folder")})


def obstacle_of(release: Release) -> Obstacle | None:
    return described(release, "blocks.3.hook_resid_mid").obstacle


def test_each_obstacle_is_found_and_says_whose_it_is() -> None:
    assert obstacle_of(release_of("sae_lens")) is None
    for release, kind, ours in (
        (release_of("a_new_one"), "a_new_one", True),
        (release_of("mwhanna_transcoder"), "transcoder", False),
        (release_of("sae_lens", normalize_activations="layer_norm"), "normalized", True),
        (release_of("sae_lens", model="nobodys"), "nobodys", True),
    ):
        found = obstacle_of(release)
        assert found is not None
        assert (found.kind, found.ours) == (kind, ours)


def test_an_architecture_is_hooked_where_its_hooks_were_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run over all architectures decides: nothing about them is written down twice."""
    model, known = "openai/gpt-oss-20b", dict[str, Support]()
    monkeypatch.setattr(architectures, "known_architectures", lambda: known)

    def kind(**finding: Any) -> str | None:
        if finding:
            known[MODELS[model]] = Support(**finding)
        found = obstacle_of(release_of("sae_lens", model))
        return found and found.kind

    assert kind() == "GptOssForCausalLM"
    assert kind(status=Status.REFUSED, reason="why") == "GptOssForCausalLM"
    assert kind(status=Status.SELF_CHECKED, sites=tuple(Site)) is None
    assert kind(status=Status.SELF_CHECKED, sites=(Site.RESID_POST,)) == "resid_mid"


def test_only_loaders_of_sae_lens_are_said_to_be_read() -> None:
    assert set(READ) <= set(NAMED_PRETRAINED_SAE_CONFIG_GETTERS)


def test_one_model_is_found_by_a_part_of_its_name() -> None:
    assert {entry.model for entry in catalog("GPT-oss")} == {"openai/gpt-oss-20b"}
    assert not list(catalog("no such model"))

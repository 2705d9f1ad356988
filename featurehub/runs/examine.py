"""`featurehub doctor MODEL`: where in a model an SAE can read and write, as the check at boot sees it."""

from pathlib import Path

from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.engine.self_check import Finding
from featurehub.runs.progress import Progress

__all__ = ["examine"]

OPTIONS = EngineOptions(max_num_seqs=1, max_model_len=64, kv_cache_gib=1, skip_tokenizer_init=True)


def examine(model: Path, progress: Progress) -> list[Finding]:
    """Checks every site of the model's first, middle and last layer, and its final norm.

    Args:
        model: Folder of the checkpoint.
        progress: Receives progress reports.

    Returns:
        What was found at each hook point; an infinite error, with the reason, at one that the model does not have.

    Raises:
        ModelNotFound: The folder holds no checkpoint.
        UnsupportedModel: No hook can be put into the model at all.
        EngineError: The GPU has no room for it.
    """
    last = identify(model, HookPoint(layer=0)).layers - 1
    layers = sorted({0, last // 2, last})
    with progress.phase("loading the model"):
        engine = Engine(model, EngineConfig.capturing(HookPoint(layer=0)), OPTIONS)
    points = [(at, site.value) for at in layers for site in Site if at == last or site is not Site.FINAL_NORM]
    with engine, progress.work("checking", len(points), "hook points") as work:
        found: list[Finding] = []
        for done, point in enumerate(points):
            work.at(done)
            [rows] = engine.llm.collective_rpc("featurehub_examine", args=([point],))
            found += [Finding(*row) for row in rows]
    return found

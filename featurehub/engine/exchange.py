"""Other SAEs at the hook points of an engine that runs, without a restart.

1. ``prepare`` loads what another configuration has. It may take a while, and changes nothing.
2. ``exchange`` puts it in place, between two steps. Whatever names a row of a hook point's bank follows it to the other
   bank: the slots of edits, and the latents of conditions. What was summed stays as it is. Streams that wait to be
   read are read with the bank that they waited for.
3. A request that still uses an SAE which is not there any more is steered by something else from then on. Its report
   says so, and its answer is withheld. Whoever takes an SAE away waits for those that use it (``api.exchange``).

Compiled code calls the op, which looks its tables up, so it need not be compiled again. Captured graphs have the
addresses of the bank in them: an engine that has captured any cannot exchange its SAEs.
"""

from typing import NamedTuple

from featurehub.edits import Steering
from featurehub.engine.bank import Bank
from featurehub.engine.config import EngineConfig, HookConfig
from featurehub.engine.hook import Hook
from featurehub.engine.hookset import HookSet
from featurehub.errors import InvalidConfig

__all__ = ["Prepared", "exchange", "prepare"]


class Prepared(NamedTuple):
    """What is ready to be put in place.

    Attributes:
        config: The configuration.
        banks: For each hook point its bank; None where it stays as it is.
    """

    config: EngineConfig
    banks: tuple[Bank | None, ...]


def prepare(hooks: HookSet, config: EngineConfig) -> Prepared:
    """Loads the banks of the hook points whose SAEs differ from those that are there.

    Args:
        hooks: The hook set of the worker's model.
        config: The configuration, with the same hook points.

    Raises:
        InvalidConfig: The hook points are not the same, or one of them was made without a place for SAEs.
        CorruptArtifact: The weights of an SAE cannot be read.
        IncompatibleArtifact: An SAE was trained on a model of another width.
    """
    if [hook.point for hook in config.hooks] != [hook.point for hook in hooks.config.hooks]:
        raise InvalidConfig("an engine that runs cannot get other hook points")
    pairs = zip(hooks.hooks, hooks.config.hooks, config.hooks, strict=True)
    return Prepared(config, tuple(None if old == new else load(hook, new) for hook, old, new in pairs))


def load(hook: Hook, wanted: HookConfig) -> Bank:
    if hook.table is None:
        raise InvalidConfig(f"{wanted.point} was made to be captured only")
    bank = hook.table.bank
    return Bank.load(wanted.saes, bank.d_model, bank.W_dec.device)


def exchange(hooks: HookSet, prepared: Prepared) -> None:
    """Puts what was prepared in place. No step may be under way."""
    hooks.settle()
    for hook, bank in zip(hooks.hooks, prepared.banks, strict=True):
        if bank is not None:
            give(hooks, hook, bank)
    hooks.config, hooks.place = prepared.config, prepared.config.place
    hooks.orphaned |= {row for row, steering in hooks.rows.steerings.items() if is_orphaned(steering, hooks)}


def give(hooks: HookSet, hook: Hook, bank: Bank) -> None:
    """Gives a hook point another bank."""
    assert hook.table is not None
    hook.drain()
    waiting = hook.readings.activations
    for sae in list(waiting.unread):
        waiting.encode(sae)
    waiting.bank = bank
    hooks.conditions.move(hook.index, hook.table.bank.rows_in(bank))
    hook.table.move(bank)


def is_orphaned(steering: Steering, hooks: HookSet) -> bool:
    return not steering.saes() <= hooks.place.keys()

"""The op's body on CUDA: one program per token, over buffers that stay where they are.

A captured graph replays the same launches with the same addresses; a step differs only in what the buffers hold. A
token whose ``slot`` is 0 (padding, a dummy run, a request that asks for nothing) ends at its first load.

    decide   conditions that read here: bits of the token's truths, the first position at which each was met, a count
    lasting  "so far" conditions: their bits, once every token of the step has been decided
    edit     the edit equation of ``featurehub.steering``, the tap, and the counts

The stream is in the model's dtype; all other floats are float32, integers int64 and truth values bool. K is the largest
number of edits of a request, C that of conditions. The tensors are contiguous, but those of ``Conditions`` and of
``EditTable`` (all but truths and nudge) are columns of a ``Sheet``: from row to row lie ``S`` words of 64 bits.

    the stream        hidden, residual [tokens, d_model]: their sum is x, or hidden alone where not HAS_RESIDUAL
    Buffers           slot (a token's row), position, first (1 where it is computed for the first time) [max_tokens]
    Bank              W_enc, W_dec [latents, d_model]; bias, threshold, gain, offset [latents]
    Conditions        truths [max_tokens], bit c for condition c; decided [rows, hooks];
                      hook, latent, value, sign, so_far, fired_at [rows, C]
    EditTable         latent, alpha, beta, mask (its ``bits``), any_of, in_force (float32) [rows, K]; used, always,
                      dose_max [rows]; bounds [rows, 2]; nudge [rows, d_model]; counts [rows, 5];
                      tapping [rows], not 0 where a row's stream goes to the tap
    GraphHook         tap [max_tokens, d_model]
    numbers           index of the hook point; S; BLOCK, a power of two that is at least d_model

Written to: hidden and residual, truths, fired_at, decided, tap, counts and in_force.

Everything is computed in float32, whatever the stream's dtype. The naive twin is ``featurehub.engine.hook`` on the same
tables, and tests compare both with ``featurehub.steering.Reference``.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportOperatorIssue=false
# (Triton's language is traced, not run: its types are not Python's.)
import triton
import triton.language as tl

__all__ = ["decide", "edit", "lasting"]


@triton.jit
def load_stream(hidden, residual, t, d_model, HAS_RESIDUAL: tl.constexpr, BLOCK: tl.constexpr):
    """x of token ``t``: [BLOCK] float32, zero beyond d_model."""
    column = tl.arange(0, BLOCK)
    inside = column < d_model
    at = t.to(tl.int64) * d_model + column
    x = tl.load(hidden + at, mask=inside, other=0.0).to(tl.float32)
    if HAS_RESIDUAL:
        x += tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
    return x


@triton.jit
def activation(x, latent, W_enc, bias, threshold, gain, offset, d_model, BLOCK: tl.constexpr):
    """Activation of one latent of the bank at x ([BLOCK]): a float32 number."""
    column = tl.arange(0, BLOCK)
    w = tl.load(W_enc + latent * d_model + column, mask=column < d_model, other=0.0)
    z = tl.sum(x * w, 0) + tl.load(bias + latent)
    value = tl.maximum(tl.load(gain + latent) * z + tl.load(offset + latent), 0.0)
    return tl.where(z > tl.load(threshold + latent), value, 0.0)


@triton.jit
def decide(
    hidden, residual, slot, position, truths,
    W_enc, bias, threshold, gain, offset,
    hook, latent, value, sign, so_far, fired_at, decided,
    index, d_model, S, C: tl.constexpr, HAS_RESIDUAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Decides, for one token, its row's conditions at this hook point, and counts that it did."""
    t = tl.program_id(0)
    row = tl.load(slot + t)
    if row > 0:
        x = load_stream(hidden, residual, t, d_model, HAS_RESIDUAL, BLOCK)
        bits = tl.load(truths + t)
        reads = tl.full((), 0, tl.int64)
        for c in range(C):
            integer, number, flag = row * S + c, row * S * 2 + c, row * S * 8 + c
            if tl.load(hook + integer) == index:
                reads = tl.full((), 1, tl.int64)
                a = activation(x, tl.load(latent + integer), W_enc, bias, threshold, gain, offset, d_model, BLOCK)
                if tl.load(sign + number) * (a - tl.load(value + number)) > 0:
                    tl.atomic_min(fired_at + integer, tl.load(position + t))
                    if tl.load(so_far + flag) == 0:
                        bits = bits | (tl.full((), 1, tl.int64) << c)
        tl.store(truths + t, bits)
        if reads > 0:
            tl.atomic_add(decided + row * S + index, reads)


@triton.jit
def lasting(slot, position, truths, hook, so_far, fired_at, index, S, C: tl.constexpr):
    """Adds to one token's truths the "so far" conditions that it or an earlier token has met."""
    t = tl.program_id(0)
    row = tl.load(slot + t)
    if row > 0:
        bits = tl.load(truths + t)
        for c in range(C):
            integer = row * S + c
            asked = (tl.load(hook + integer) == index) & (tl.load(so_far + row * S * 8 + c) != 0)
            if asked & (tl.load(fired_at + integer) <= tl.load(position + t)):
                bits = bits | (tl.full((), 1, tl.int64) << c)
        tl.store(truths + t, bits)


@triton.jit
def edit(
    hidden, residual, slot, position, first, truths, tap, tapping,
    W_enc, W_dec, bias, threshold, gain, offset,
    latent, alpha, beta, mask, any_of, used, always, bounds, dose_max, nudge, counts, in_force,
    d_model, S, HAS_RESIDUAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Edits one token's stream, copies it to the tap first if its row is read, and counts.

    Shapes and dtypes of the arguments are in the module's docstring.
    """
    t = tl.program_id(0)
    row = tl.load(slot + t)
    if row > 0:
        column = tl.arange(0, BLOCK)
        inside = column < d_model
        at = t.to(tl.int64) * d_model + column
        x = load_stream(hidden, residual, t, d_model, HAS_RESIDUAL, BLOCK)
        if tl.load(tapping + row * S) != 0:
            tl.store(tap + at, x, mask=inside)
        here = tl.load(position + t)
        if (here >= tl.load(bounds + row * S)) & (here < tl.load(bounds + row * S + 1)):
            counted = tl.load(first + t).to(tl.float32)
            bits = tl.load(truths + t)
            delta = tl.load(nudge + row * d_model + column, mask=inside, other=0.0)
            force = tl.load(always + row * S * 8).to(tl.int32)
            for k in range(tl.load(used + row * S)):
                integer, number = row * S + k, row * S * 2 + k
                wanted = tl.load(mask + integer)
                common = bits & wanted
                met = tl.where(tl.load(any_of + row * S * 8 + k) != 0, common != 0, common == wanted)
                if met:
                    index = tl.load(latent + integer)
                    a = activation(x, index, W_enc, bias, threshold, gain, offset, d_model, BLOCK)
                    change = tl.load(alpha + number) * a + tl.load(beta + number)
                    delta += change * tl.load(W_dec + index * d_model + column, mask=inside, other=0.0)
                    force = 1
                    tl.atomic_add(in_force + number, counted)
            size = tl.sqrt(tl.sum(delta * delta, 0))
            norm = tl.sqrt(tl.sum(x * x, 0))
            bound = tl.load(dose_max + row * S * 2) * norm
            clipped = size > bound
            scale = tl.where(clipped, bound / tl.where(clipped, size, 1.0), 1.0)
            dose = scale * size / tl.where(norm > 0, norm, 1.0) * counted * force.to(tl.float32)
            if tl.max(tl.abs(delta), 0) > 0:
                moved = x + scale * delta
                if HAS_RESIDUAL:
                    tl.store(residual + at, moved.to(residual.dtype.element_ty), mask=inside)
                    tl.store(hidden + at, tl.zeros_like(moved).to(hidden.dtype.element_ty), mask=inside)
                else:
                    tl.store(hidden + at, moved.to(hidden.dtype.element_ty), mask=inside)
            tally = counts + row * S * 2
            tl.atomic_add(tally, 1.0)
            tl.atomic_add(tally + 1, counted * force.to(tl.float32))
            tl.atomic_add(tally + 2, dose)
            tl.atomic_max(tally + 3, dose)
            tl.atomic_add(tally + 4, tl.where(clipped, counted * force.to(tl.float32), 0.0))

"""What a worker tells about one request when its answer is done."""

from typing import Any

from featurehub.settings import Frozen

__all__ = ["SteerReport", "TokenFeatures"]


class TokenFeatures(Frozen):
    """One token's strongest latents, strongest first. token: its id."""

    position: int
    token: int
    latents: tuple[int, ...]
    activations: tuple[float, ...]


class SteerReport(Frozen):
    """Counts of one request.

    steered_tokens:  counted by the op itself, inside the forward pass
    expected_tokens: what the step tables asked for; anything else means that steering was lost
    dose_mean, dose_max: ‖x' − x‖ / ‖x‖ over the steered tokens
    clipped:         tokens whose Δ the dose guard scaled down
    """

    steered_tokens: int = 0
    expected_tokens: int = 0
    dose_mean: float = 0.0
    dose_max: float = 0.0
    clipped: int = 0
    activations: tuple[TokenFeatures, ...] | None = None

    def __add__(self, other: "SteerReport") -> "SteerReport":
        steered = self.steered_tokens + other.steered_tokens
        dose_sum = self.dose_mean * self.steered_tokens + other.dose_mean * other.steered_tokens
        return SteerReport(
            steered_tokens=steered,
            expected_tokens=self.expected_tokens + other.expected_tokens,
            dose_mean=dose_sum / steered if steered else 0.0,
            dose_max=max(self.dose_max, other.dose_max),
            clipped=self.clipped + other.clipped,
            activations=self.activations or other.activations,
        )

    def to_wire(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

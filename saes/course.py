"""How a run gets through its schedule, also when it has to end early.

A run of T steps has a schedule: warm-ups, ramps, a rate that decays until the last step. One that has time for T′ < T
steps only is not broken off. From step s on, when it stood at place p of the schedule, each step moves on by as many
places as it takes for the last step to be made at the schedule's last place:

    place(t) = T − 1 − (T − 1 − p) · (T′ − 1 − t) // (T′ − 1 − s)        s ≤ t < T′
"""

from typing import NamedTuple

__all__ = ["Course"]


class Course(NamedTuple):
    """The way of a run through its schedule. ``Course(T, T)`` is that of a run which makes all its steps.

    Attributes:
        whole: T, the places of the schedule.
        steps: T′, the steps that the run makes in all.
        since: s, the step from which on that holds.
        place: p, the place at that step.
    """

    whole: int
    steps: int
    since: int = 0
    place: int = 0

    @property
    def is_shortened(self) -> bool:
        """Whether the run makes fewer steps than its schedule has places."""
        return self.steps < self.whole

    def at(self, step: int) -> int:
        """The place of the schedule at which a step is made, counted from 0 as steps are."""
        last, span = self.whole - 1, self.steps - 1 - self.since
        return last - (last - self.place) * (self.steps - 1 - step) // span if span else last

    def shortened(self, done: int, left: int) -> "Course":
        """The course of the same run if only ``left`` steps, at least one, follow after ``done``."""
        return Course(self.whole, done + left, done, self.at(done))

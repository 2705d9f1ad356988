"""How a run that must end early gets through its schedule: to the end, without a jump, whatever was decided when."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from saes.course import Course


@given(steps=st.integers(1, 2000))
def test_a_run_that_is_not_shortened_makes_every_step_at_its_place(steps: int) -> None:
    course = Course(steps, steps)
    assert [course.at(step) for step in range(steps)] == list(range(steps))
    assert not course.is_shortened


@given(whole=st.integers(2, 500), data=st.data())
def test_a_shortened_run_ends_at_the_schedules_end_and_never_goes_back(whole: int, data: st.DataObject) -> None:
    course, places, done = Course(whole, whole), list[int](), 0
    for _ in range(data.draw(st.integers(1, 3))):
        if course.steps - done < 2:
            break
        until = data.draw(st.integers(done, course.steps - 2))
        places += [course.at(step) for step in range(done, until)]
        before = course.at(until)
        course, done = course.shortened(until, data.draw(st.integers(1, course.steps - 1 - until))), until
        # The schedule goes on from where it stood, unless a single step is left to bring it to its end.
        assert course.at(until) == (before if course.steps - until > 1 else whole - 1)
        assert course.is_shortened
    places += [course.at(step) for step in range(done, course.steps)]
    assert len(places) == course.steps
    assert places[-1] == whole - 1
    assert all(later > earlier for earlier, later in pairwise(places))

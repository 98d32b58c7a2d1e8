"""Conditions that kfp's compiler writes, and those that it does not."""

import pytest

from epilstm.errors import PipelineError
from epilstm.pipelines.local.conditions import is_met

INPUTS = {"verdict": "promote", "count": 4, "rate": 0.5, "fast": True, "none": None}


def condition(text: str) -> str:
    """A condition in which ``$name`` stands for an input."""
    return " ".join(f"inputs.parameter_values['{word[1:]}']" if word.startswith("$") else word for word in text.split())


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("$verdict == 'promote'", True),
        ("$verdict != 'promote'", False),
        ("int( $count ) > 3", True),
        ("int( $count ) <= 3", False),
        ("double( $count ) == 4.0", True),
        ("$rate >= 0.5", True),
        ("$rate < 5e-1", False),
        ("$fast == true", True),
        ("!( $fast == true)", False),
        ("!( $fast == true) && int( $count ) > 3", False),
        ("!( $fast == false) && !(int( $count ) > 9) && $verdict == 'promote'", True),
    ],
)
def test_what_the_compiler_writes_is_evaluated(text, met):
    assert is_met(condition(text), INPUTS) is met


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("$fast == true || $rate > 1.0", "is not supported"),
        ("size( $verdict ) > 3", "is not supported"),
        ("$verdict == 'pro' 'mote'", "is not expected"),
        ("$verdict", "a comparison is missing"),
        ("$verdict ==", "ends too early"),
        ("!( $fast == true", "')' is missing"),
        ("$verdict == 3", "of different types"),
        ("$fast == 1", "of different types"),
        ("int( $verdict ) == 3", "is no number"),
        ("$absent == 'x'", "input absent has no value"),
    ],
)
def test_anything_else_is_an_error_that_names_the_condition(text, reason):
    with pytest.raises(PipelineError, match="condition") as error:
        is_met(condition(text), INPUTS)
    assert condition(text) in str(error.value)
    assert reason in str(error.value)

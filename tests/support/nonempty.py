"""Collections that a test loops over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def nonempty(items: Iterable[Item]) -> list[Item]:
    """The items, of which there must be one: a loop of assertions over none would pass."""
    found = list(items)
    assert found
    return found

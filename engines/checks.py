"""Values at the door that are of another type than the setting has."""

from __future__ import annotations

from numbers import Real
from typing import Any

from ..errors import SettingError


def check_numbers(**values: Any) -> None:
    """Raises SettingError for a value that is no number; ranges, and whether it is finite, are the setting's own."""
    for name, value in values.items():
        if not isinstance(value, Real):
            raise SettingError(f"The setting {name} must be a number, not {str(value)[:100]!r}.")


def check_text(name: str, value: Any) -> None:
    """Raises SettingError for a value that is no text."""
    if not isinstance(value, str):
        raise SettingError(f"The setting {name} must be a text, not {str(value)[:100]!r}.")

"""Protobuf's wire format, read where it lies.

Nothing is copied and nothing is believed: every length is held against the message that it is in. Format:
protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from .limits import MOST_ENTRIES, MOST_TEXT_BYTES, Allowance

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# A text longer than this is none: names, documentation and JSON in metadata are shorter.
LONGEST_TEXT = 1 << 20


class DamagedError(Exception):
    """The bytes are no such message; the text says why, as the end of a sentence."""


class Limits:
    """What one file may still make its reader do."""

    def __init__(self, most_entries: int = MOST_ENTRIES) -> None:
        self._entries, self._text = Allowance(most_entries), Allowance(MOST_TEXT_BYTES)
        self._most_entries = most_entries

    def count(self, entries: int = 1) -> None:
        """Raises DamagedError for more fields and numbers than a model has."""
        if not self._entries.take(entries):
            raise DamagedError(f"it has more than {self._most_entries} fields, which no model has")

    def read(self, nbytes: int) -> None:
        """Raises DamagedError for more text than a model has."""
        if not self._text.take(nbytes):
            raise DamagedError(f"it has more than {MOST_TEXT_BYTES} bytes of names")


@dataclass(frozen=True)
class Field:
    """One field of a message: its number, how it is stored, and where its content starts and ends.

    number_read: the content of a VARINT, unsigned.
    """

    content: mmap.mmap | bytes
    number: int
    wire: int
    start: int
    end: int
    number_read: int = 0
    limits: Limits = field(default_factory=Limits)

    def message(self) -> Message:
        self._expect(BYTES)
        return Message(self.content, self.start, self.end, self.limits)

    def text(self, longest: int = LONGEST_TEXT) -> str:
        """longest: bytes that are believed."""
        self._expect(BYTES)
        if self.end - self.start > longest:
            raise DamagedError(f"it holds a name of {self.end - self.start} bytes")
        self.limits.read(self.end - self.start)
        return self.content[self.start : self.end].decode("utf-8", "backslashreplace")

    def integer(self) -> int:
        """A signed number of 64 bits."""
        self._expect(VARINT)
        return _signed(self.number_read)

    def integers(self) -> list[int]:
        """One number, or many that are packed."""
        if self.wire == VARINT:
            return [self.integer()]
        self._expect(BYTES)
        numbers, position = [], self.start
        while position < self.end:
            self.limits.count()
            number, position = _varint(self.content, position, self.end)
            numbers.append(_signed(number))
        return numbers

    def floats(self) -> tuple[float, ...]:
        """One number of 32 bits, or many that are packed."""
        if self.wire != FIXED32:
            self._expect(BYTES)
        count, rest = divmod(self.end - self.start, 4)
        if rest:
            raise DamagedError("a list of numbers ends in the middle of one")
        self.limits.count(count)
        return struct.unpack(f"<{count}f", self.content[self.start : self.end])

    def _expect(self, wire: int) -> None:
        if self.wire != wire:
            raise DamagedError(f"field {self.number} is stored in another way than ONNX stores it")


class Message:
    """The fields between two places, in their order. Iterating raises DamagedError."""

    def __init__(self, content: mmap.mmap | bytes, start: int, end: int, limits: Limits | None = None) -> None:
        self._content, self._start, self._end = content, start, end
        self._limits = limits or Limits()

    def __iter__(self) -> Iterator[Field]:
        content, position, end, limits = self._content, self._start, self._end, self._limits
        while position < end:
            limits.count()
            tag, position = _varint(content, position, end)
            wire, number = tag & 7, tag >> 3
            start, value = position, 0
            if wire == VARINT:
                value, position = _varint(content, position, end)
            elif wire == BYTES:
                length, start = _varint(content, position, end)
                position = start + length
            elif wire in (FIXED32, FIXED64):
                position += 4 if wire == FIXED32 else 8
            if number == 0 or wire not in (VARINT, BYTES, FIXED32, FIXED64):
                raise DamagedError(f"byte {start - 1} does not begin a field")
            if position > end:
                raise DamagedError(f"the field at byte {start} is {position - end} bytes longer than what is left")
            yield Field(content, number, wire, start, position, value, limits)


def _varint(content: mmap.mmap | bytes, position: int, end: int) -> tuple[int, int]:
    """A number in groups of seven bits, and the place behind it."""
    number = 0
    for index in range(10):
        if position + index >= end:
            raise DamagedError(f"it breaks off at byte {end}")
        byte = content[position + index]
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, position + index + 1
    raise DamagedError(f"there is no number at byte {position}")


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number

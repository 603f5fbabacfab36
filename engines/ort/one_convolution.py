"""A network of one convolution, which a provider has proven itself on when it gives the right numbers.

A convolution also needs cuDNN, which a sum would not.
"""

from __future__ import annotations

import struct

SIDE = 8
WEIGHT = 0.5
EXPECTED = 9 * WEIGHT  # ones under a 3x3 kernel

_FLOAT, _INTS = 1, 7  # of TensorProto.DataType and AttributeProto.AttributeType
_VARINT, _LENGTH = 0, 2  # protobuf's wire types
_IR_VERSION, _OPSET = 8, 13


def one_convolution() -> bytes:
    """An ONNX model: x (1, 1, 8, 8) float32, a 3x3 kernel without padding, y (1, 1, 6, 6).

    Written by hand after onnx.proto, so that no onnx package is needed.
    """
    kernel = struct.pack("<9f", *[WEIGHT] * 9)
    weights = b"".join(_number(1, size) for size in (1, 1, 3, 3))
    weights += _number(2, _FLOAT) + _bytes(8, b"w") + _bytes(9, kernel)
    shape = _bytes(1, b"kernel_shape") + _number(8, 3) + _number(8, 3) + _number(20, _INTS)
    node = _bytes(1, b"x") + _bytes(1, b"w") + _bytes(2, b"y") + _bytes(4, b"Conv") + _bytes(5, shape)
    graph = _bytes(1, node) + _bytes(2, b"probe") + _bytes(5, weights)
    graph += _bytes(11, _value(b"x", SIDE)) + _bytes(12, _value(b"y", SIDE - 2))
    return _number(1, _IR_VERSION) + _bytes(7, graph) + _bytes(8, _bytes(1, b"") + _number(2, _OPSET))


def _value(name: bytes, side: int) -> bytes:
    """A ValueInfoProto of a (1, 1, side, side) float32 tensor."""
    shape = b"".join(_bytes(1, _number(1, size)) for size in (1, 1, side, side))
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, _FLOAT) + _bytes(2, shape)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _LENGTH) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])

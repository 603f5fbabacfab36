"""The forward passes of MTCNN's three networks, as functions of their weights in layer order.

All take (N, 3, H, W) float32 RGB, normalised as (value in 0..255 - 127.5) / 128, and return float64 numpy
arrays.
"""

import numpy as np
import torch
import torch.nn.functional as F

Weights = list[torch.Tensor]


def convolved(x: torch.Tensor, weights: Weights, layer: int, step: int = 1) -> torch.Tensor:
    """The layer-th convolution with its PReLU; each takes three arrays."""
    weight, bias, slope = weights[3 * layer : 3 * layer + 3]
    return F.prelu(F.conv2d(x, weight, bias, step), slope)


def pooled(x: torch.Tensor, size: int) -> torch.Tensor:
    """Max pooling with stride 2; ceil_mode is TensorFlow's "same" padding at these sizes."""
    return F.max_pool2d(x, size, 2, ceil_mode=True)


def dense(x: torch.Tensor, weights: Weights, first: int) -> torch.Tensor:
    """Flattened as (W, H, C), the order the networks were trained with, then a dense layer with its PReLU."""
    flat = x.permute(0, 3, 2, 1).flatten(1)
    return F.prelu(F.linear(flat, weights[first], weights[first + 1]), weights[first + 2])


def as_array(x: torch.Tensor) -> np.ndarray:
    return x.numpy().astype(np.float64)


def channels_last(weights: Weights) -> Weights:
    """The same with convolutions laid out as the frames are, whose channels lie side by side."""
    return [weight.contiguous(memory_format=torch.channels_last) if weight.ndim == 4 else weight for weight in weights]


def phased(weights: Weights) -> Weights:
    """P-net's weights with its first layer in the form that `run_pnet` takes.

    The first convolution and the 2 x 2 pooling behind it become one convolution of step 2, which has each of the
    four places of a pooling window in channels of its own: their maximum costs a quarter of what pooling does.
    """
    weight, bias, slope = weights[:3]
    places = weight.new_zeros(4, *weight.shape[:2], 4, 4)
    for place in range(4):
        row, column = divmod(place, 2)
        places[place, :, :, row : row + 3, column : column + 3] = weight
    return [places.flatten(0, 1), bias.repeat(4), slope.repeat(4), *weights[3:]]


def run_pnet(weights: Weights, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N, h, w) and box moves (N, h, w, 4) for 12 x 12 windows at stride 2; weights as `phased` has them."""
    rows, columns = ((length - 2) % 2 for length in x.shape[2:])  # 1: the last window of the pooling is half one
    x = convolved(F.pad(x, (0, columns, 0, rows)), weights, 0, 2).unflatten(1, (2, 2, -1))
    if rows:
        x[:, 1, :, :, -1] = x[:, 0, :, :, -1]
    if columns:
        x[:, :, 1, :, :, -1] = x[:, :, 0, :, :, -1]
    x = torch.maximum(torch.maximum(x[:, 0, 0], x[:, 0, 1]), torch.maximum(x[:, 1, 0], x[:, 1, 1]))
    x = convolved(convolved(x, weights, 1), weights, 2)
    moves = F.conv2d(x, weights[9], weights[10])
    scores = F.conv2d(x, weights[11], weights[12]).softmax(1)[:, 1]
    return scores.numpy(), moves.permute(0, 2, 3, 1).numpy()


def run_rnet(weights: Weights, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N,) and box moves (N, 4) of 24 x 24 patches."""
    x = pooled(convolved(x, weights, 0), 3)
    x = pooled(convolved(x, weights, 1), 3)
    x = dense(convolved(x, weights, 2), weights, 9)
    scores = F.linear(x, weights[14], weights[15]).softmax(1)[:, 1]
    return as_array(scores), as_array(F.linear(x, weights[12], weights[13]))


def run_onet(weights: Weights, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (N,), box moves (N, 4) and points (N, 5, 2) as fractions of the box, of 48 x 48 patches."""
    x = pooled(convolved(x, weights, 0), 3)
    x = pooled(convolved(x, weights, 1), 3)
    x = pooled(convolved(x, weights, 2), 2)
    x = dense(convolved(x, weights, 3), weights, 12)
    scores = F.linear(x, weights[19], weights[20]).softmax(1)[:, 1]
    places = F.linear(x, weights[17], weights[18]).unflatten(1, (2, 5)).transpose(1, 2)
    return as_array(scores), as_array(F.linear(x, weights[15], weights[16])), as_array(places)

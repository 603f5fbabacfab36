"""Buffers are taken once and shared by what fits into them."""

import torch
from slimfusion.engines.buffers import Buffers


def test_a_buffer_serves_every_shape_that_fits():
    buffers = Buffers()
    large = buffers.take("tiles", (2, 3, 8, 8))
    small = buffers.take("tiles", (1, 3, 4, 4))
    assert small.shape == (1, 3, 4, 4) and small.is_contiguous()
    assert small.data_ptr() == large.data_ptr()


def test_a_larger_shape_takes_a_larger_buffer():
    buffers = Buffers()
    first = buffers.take("tiles", (4,))
    second = buffers.take("tiles", (8,)).fill_(1.0)
    assert second.numel() == 8 and second.data_ptr() != first.data_ptr()
    assert buffers.take("tiles", (8,)).data_ptr() == second.data_ptr()


def test_names_do_not_share():
    buffers = Buffers()
    buffers.take("tiles", (4,)).fill_(1.0)
    buffers.take("results", (4,)).fill_(2.0)
    assert torch.equal(buffers.take("tiles", (4,)), torch.ones(4))

"""A Real-ESRGAN file has other names than its network: it is planned in every precision all the same."""

import pytest
import torch
from safetensors.torch import save_file
from slimfusion.models.opening import open_model

WIDTH, GROWTH = 64, 32


def renamed_network() -> dict[str, torch.Tensor]:
    """One block of x4plus, under the names of its own repository."""
    sizes = {"conv_first": (WIDTH, 3), "conv_last": (3, WIDTH)}
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        sizes[name] = (WIDTH, WIDTH)
    for dense in ("rdb1", "rdb2", "rdb3"):
        for number in range(5):
            made = GROWTH if number < 4 else WIDTH
            sizes[f"body.0.{dense}.conv{number + 1}"] = (made, WIDTH + number * GROWTH)
    tensors = {}
    for name, (made, given) in sizes.items():
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = torch.zeros(made, given, 3, 3), torch.zeros(made)
    return tensors


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_it_is_planned_in_every_precision(tmp_path, precision) -> None:
    file = tmp_path / "renamed.safetensors"
    save_file(renamed_network(), file)
    model = open_model(file)
    assert model.spec.scale == 4
    exact, cost = (model.activations(name, "cuda").per_pixel for name in ("fp32", precision))
    assert 0.4 * exact < cost <= exact

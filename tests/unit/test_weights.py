"""The network that is always there: small, recognised by its content, and free to be given away."""

import hashlib

from slimfusion.catalog.files import BUNDLED, BUNDLED_FILE, model_path
from slimfusion.engines.torch import weights_file
from slimfusion.models.torch_model import torch_model


def test_it_is_found_by_its_name_and_small():
    assert model_path(BUNDLED, []) == BUNDLED_FILE
    assert BUNDLED_FILE.stat().st_size <= 8 << 20


def test_it_is_recognised_by_its_tensors(tmp_path):
    """Under another name too: nothing is taken from the file's name."""
    copy = tmp_path / "unknown.safetensors"
    copy.write_bytes(BUNDLED_FILE.read_bytes())
    spec = torch_model(copy).spec
    parameters = sum(tensor.numel() for tensor in weights_file.shapes(copy).values())
    assert (spec.architecture, spec.licence) == ("SlimUnet", "Apache-2.0")
    assert (spec.scale, spec.card.is_face_restorer, spec.parameters) == (1, False, parameters)
    assert spec.halo % spec.multiple == spec.exact_halo % spec.multiple == 0 and spec.halo <= spec.exact_halo
    assert set(spec.precisions) == {"fp32", "fp16", "bf16"}


def test_its_licence_and_origin_are_written_in_it():
    metadata = weights_file.metadata(BUNDLED_FILE)
    assert metadata["licence"] == "Apache-2.0"
    assert metadata["architecture"] == "SlimUnet" and metadata["training"]


def test_every_weight_is_a_number():
    assert all(tensor.isfinite().all() for tensor in weights_file.tensors(BUNDLED_FILE).values())


def test_reading_it_does_not_change_it():
    before = hashlib.sha256(BUNDLED_FILE.read_bytes()).hexdigest()
    for tensor in weights_file.tensors(BUNDLED_FILE).values():
        tensor.zero_()
    assert hashlib.sha256(BUNDLED_FILE.read_bytes()).hexdigest() == before

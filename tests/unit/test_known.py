"""The tables of known files and families: nothing in them contradicts itself."""

import re

import pytest
from slimfusion.catalog.families import FAMILIES
from slimfusion.catalog.found import MODEL_SUFFIXES
from slimfusion.catalog.known import BY_HASH, KNOWN, MODEL_SUBFOLDERS
from slimfusion.catalog.signatures import Signature, input_order, recognised
from slimfusion.catalog.templates import WARP_TEMPLATES

BATCH = "batch"


def signature_of(family, names=None):
    """What a usual export of a family states, batch included; names: others than the table's."""

    def value(index, port):
        shape = [BATCH, *("h" if length in (None, -1) else length for length in port.shape)]
        return (names[index] if names else port.name), port.dtype, tuple(shape)

    inputs = tuple(value(index, port) for index, port in enumerate(family.inputs))
    return Signature(inputs, tuple((port.name, port.dtype, (BATCH, *port.shape)) for port in family.outputs))


def test_every_row_is_a_file_that_can_be_told_apart():
    hashes = [file.sha256 for file in KNOWN if file.sha256]
    assert len(hashes) == len(set(hashes)) == len(BY_HASH)
    for file in KNOWN:
        assert re.fullmatch(r"[0-9a-f]{64}|", file.sha256)
        assert file.sha256 or file.size
        assert file.suffix in MODEL_SUFFIXES
        assert file.source.startswith("https://")
        assert file.folder.split("/")[0] in MODEL_SUBFOLDERS


def test_three_files_of_one_name_are_three_files():
    same = [file for file in KNOWN if file.name.lower().replace("_", "-") == "gpen-bfr-512.onnx"]
    assert len({file.sha256 for file in same}) == len({file.size for file in same}) == 3
    assert {file.contract for file in same} == {FAMILIES["gpen_512"]}


def test_every_family_is_aligned_to_a_template_that_exists():
    wanted = {name for each in FAMILIES.values() for name in (each.template, each.source_template) if name}
    assert wanted <= set(WARP_TEMPLATES)
    assert {each.converter for each in FAMILIES.values() if each.converter} <= set(FAMILIES)


def test_only_what_is_said_to_be_free_is():
    free = {file.licence for file in KNOWN if file.commercial}
    assert free and not [text for text in free if "non-commercial" in text.lower() or "Research" in text]


@pytest.mark.parametrize("family", [each for each in FAMILIES.values() if each.tells_by_shape], ids=lambda f: f.name)
def test_a_family_is_among_the_candidates_of_its_own_shapes(family):
    recognition = recognised(signature_of(family))
    assert family.name in recognition.candidates
    assert recognition.family is None or recognition.family.handling == family.handling


@pytest.mark.parametrize(
    "name",
    (
        *("scrfd", "yoloface", "yunet", "2dfan4", "arcface", "genderage", "fairface", "xseg", "dfl_xseg"),
        *("occluder", "bisenet", "gfpgan", "gpen_512", "gpen_1024", "codeformer"),
        *("inswapper", "hyperswap", "uniface", "blendswap"),
    ),
)
def test_shapes_tell_how_to_handle_a_file(name):
    assert recognised(signature_of(FAMILIES[name])).family.handling == FAMILIES[name].handling


@pytest.mark.parametrize("name", ["ghost", "simswap_256", "hififace", "alphaface", "crossface_ghost"])
def test_shapes_that_several_families_share_prove_nothing(name):
    recognition = recognised(signature_of(FAMILIES[name]))
    assert recognition.family is None
    assert {name} < set(recognition.candidates)


def test_inputs_are_bound_by_shape_when_names_and_order_differ():
    vector, picture = ("onnx::Gemm_1", "float32", (1, 512)), ("input", "float32", (1, 3, 128, 128))
    recognition = recognised(Signature((vector, picture), (("781", "float32", (1, 3, 128, 128)),)))
    assert (recognition.family.name, recognition.order) == ("inswapper", (1, 0))


def test_names_tell_only_where_shapes_do_not():
    shapes = (1, 3, 256, 256), (1, 1, 256, 256)
    named = Signature((("img", "float32", shapes[0]),), (("output", "float32", shapes[1]),))
    nameless = Signature((("x", "float32", shapes[0]),), (("y", "float32", shapes[1]),))
    assert recognised(named).family.name == "occluder"
    assert recognised(nameless).family is None


def test_half_precision_and_open_outputs_are_the_same_network():
    inputs = (("input", "float16", (None, 3, 112, 112)),)
    assert recognised(Signature(inputs, (("683", "float16", ("n", 512)),))).family.name == "arcface"
    assert recognised(Signature(inputs, (("683", "float16", ("n", "m")),))).family.name == "arcface"


def test_an_upscaler_is_open_in_its_input():
    def of(size):
        return Signature((("in", "float32", (1, 3, size, size)),), (("out", "float32", (1, 3, "oh", "ow")),))

    assert recognised(of("h")).family.name == "image network"
    assert recognised(of(640)).family is None


def test_a_weight_is_not_taken_for_a_picture():
    codeformer = FAMILIES["codeformer"]
    single = Signature((("x", "float32", (1, 3, 512, 512)),), (("y", "float32", (1, 3, 512, 512)),))
    assert input_order(codeformer, single) is None
    weighted = Signature((("w", "float64", (1,)), *single.inputs), single.outputs)
    assert input_order(codeformer, weighted) == (1, 0)


def test_a_family_gives_the_engines_their_contract():
    contract = FAMILIES["codeformer"].contract("S-Lab 1.0")
    assert (contract.domain, contract.size, contract.template, contract.has_fidelity) == ("face", 512, "ffhq_512", True)
    assert FAMILIES["arcface"].contract("").domain == "tensors"
    assert FAMILIES["image network"].contract("").size is None

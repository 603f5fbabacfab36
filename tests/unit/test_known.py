"""The tables of known files and the model cards: nothing in them contradicts itself."""

import re
from pathlib import Path

import pytest
import slimfusion
from slimfusion import cli
from slimfusion.catalog.cards import CARDS, card_for_architecture
from slimfusion.catalog.found import MODEL_SUFFIXES
from slimfusion.catalog.known import BY_HASH, KNOWN, MODEL_SUBFOLDERS, TABLE, read_table
from slimfusion.catalog.licences import COMMERCIAL_USE
from slimfusion.catalog.signatures import Signature, input_order, recognised
from slimfusion.catalog.templates import WARP_TEMPLATES

BATCH = "batch"


def signature_of(card, names=None):
    """What a usual export of a model states, batch included; names: others than the table's."""

    def value(index, port):
        shape = [BATCH, *("h" if length in (None, -1) else length for length in port.shape)]
        return (names[index] if names else port.name), port.dtype, tuple(shape)

    inputs = tuple(value(index, port) for index, port in enumerate(card.inputs))
    return Signature(inputs, tuple((port.name, port.dtype, (BATCH, *port.shape)) for port in card.outputs))


def test_every_row_is_a_file_that_can_be_told_apart():
    hashes = [file.sha256 for file in KNOWN if file.sha256]
    assert len(hashes) == len(set(hashes)) == len(BY_HASH)
    for file in KNOWN:
        assert re.fullmatch(r"[0-9a-f]{64}|", file.sha256)
        assert file.sha256 or file.size
        assert file.suffix in MODEL_SUFFIXES
        assert file.source.startswith("https://")
        assert file.folder.split("/")[0] in MODEL_SUBFOLDERS
        for url in file.urls:
            assert url.startswith("https://") and url.endswith(f"/{file.name}") and file.sha256


def test_a_recogniser_that_a_business_may_use_is_known():
    (row,) = [file for file in KNOWN if file.card is CARDS["auraface"]]
    assert (row.name, row.size, row.commercial) == ("glintr100.onnx", 260694151, True)
    assert row.card.outputs == CARDS["arcface"].outputs and not row.card.tells_by_shape


def test_three_files_of_one_name_are_three_files():
    same = [file for file in KNOWN if file.name.lower().replace("_", "-") == "gpen-bfr-512.onnx"]
    assert len({file.sha256 for file in same}) == len({file.size for file in same}) == 3
    assert {file.card for file in same} == {CARDS["gpen_512"]}


def test_every_card_is_aligned_to_a_template_that_exists():
    wanted = {name for each in CARDS.values() for name in (each.template, each.source_template) if name}
    assert wanted <= set(WARP_TEMPLATES)
    assert {each.converter for each in CARDS.values() if each.converter} <= set(CARDS)


def test_only_what_is_said_to_be_free_is():
    free = {file.licence for file in KNOWN if file.commercial}
    assert free and not [text for text in free if "non-commercial" in text.lower() or "Research" in text]


@pytest.mark.parametrize("card", [each for each in CARDS.values() if each.tells_by_shape], ids=lambda f: f.name)
def test_a_card_is_among_the_candidates_of_its_own_shapes(card):
    recognition = recognised(signature_of(card))
    assert card.name in recognition.candidates
    assert recognition.card is None or recognition.card.handling == card.handling


@pytest.mark.parametrize(
    "name",
    (
        *("scrfd", "yoloface", "yunet", "2dfan4", "arcface", "genderage", "fairface", "xseg", "dfl_xseg"),
        *("occluder", "bisenet", "gfpgan", "gpen_512", "gpen_1024", "codeformer"),
        *("inswapper", "hyperswap", "uniface", "blendswap"),
    ),
)
def test_shapes_tell_how_to_handle_a_file(name):
    assert recognised(signature_of(CARDS[name])).card.handling == CARDS[name].handling


@pytest.mark.parametrize("name", ["ghost", "simswap_256", "hififace", "alphaface", "crossface_ghost"])
def test_shapes_that_several_models_share_prove_nothing(name):
    recognition = recognised(signature_of(CARDS[name]))
    assert recognition.card is None
    assert {name} < set(recognition.candidates)


def test_inputs_are_bound_by_shape_when_names_and_order_differ():
    vector, picture = ("onnx::Gemm_1", "float32", (1, 512)), ("input", "float32", (1, 3, 128, 128))
    recognition = recognised(Signature((vector, picture), (("781", "float32", (1, 3, 128, 128)),)))
    assert (recognition.card.name, recognition.order) == ("inswapper", (1, 0))


def test_names_tell_only_where_shapes_do_not():
    shapes = (1, 3, 256, 256), (1, 1, 256, 256)
    named = Signature((("img", "float32", shapes[0]),), (("output", "float32", shapes[1]),))
    nameless = Signature((("x", "float32", shapes[0]),), (("y", "float32", shapes[1]),))
    assert recognised(named).card.name == "occluder"
    assert recognised(nameless).card is None


def test_half_precision_and_open_outputs_are_the_same_network():
    inputs = (("input", "float16", (None, 3, 112, 112)),)
    assert recognised(Signature(inputs, (("683", "float16", ("n", 512)),))).card.name == "arcface"
    assert recognised(Signature(inputs, (("683", "float16", ("n", "m")),))).card.name == "arcface"


def test_an_upscaler_is_open_in_its_input():
    def of(size):
        return Signature((("in", "float32", (1, 3, size, size)),), (("out", "float32", (1, 3, "oh", "ow")),))

    assert recognised(of("h")).card.name == "image network"
    assert recognised(of(640)).card is None


def test_a_weight_is_not_taken_for_a_picture():
    codeformer = CARDS["codeformer"]
    single = Signature((("x", "float32", (1, 3, 512, 512)),), (("y", "float32", (1, 3, 512, 512)),))
    assert input_order(codeformer, single) is None
    weighted = Signature((("w", "float64", (1,)), *single.inputs), single.outputs)
    assert input_order(codeformer, weighted) == (1, 0)


def test_architectures_lead_to_the_card_of_the_same_model():
    card = card_for_architecture("CodeFormer")
    assert card is CARDS["codeformer"] and card.is_face_restorer and card.has_fidelity
    assert (card.size, card.template) == (512, "ffhq_512")
    unknown = card_for_architecture("SwinIR")
    assert unknown is CARDS["image network"] and unknown.is_image_network and COMMERCIAL_USE[unknown.licence] is None
    assert CARDS["arcface"].takes_tensors


def test_cards_are_whole():
    """What the code that uses a card of a kind takes for granted."""
    for card in CARDS.values():
        assert card.licence in COMMERCIAL_USE and card.folder in MODEL_SUBFOLDERS and card.inputs and card.outputs
        assert (card.identity is not None) == (card.kind == "swapper")
        assert (card.source_template is not None) == (card.identity == "picture")
        if card.kind in ("restorer", "swapper", "recogniser"):
            assert card.size and card.template
        if card.kind in ("mask", "parser", "attributes"):
            assert card.size
    names = [card.architecture for card in CARDS.values() if card.architecture]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("column", "value"), [("card", "nobody"), ("card", ""), ("licence", "mine"), ("size", "many"), ("sha256", "")]
)
def test_a_wrong_row_is_refused(column, value):
    header, *_ = TABLE.read_text(encoding="utf-8").splitlines()
    row = {
        "name": "a.onnx",
        "card": "yunet",
        "licence": "",
        "source": "https://x",
        "size": "",
        "sha256": "0" * 64,
        "url": "",
    }
    (right,) = read_table([header, ",".join(row.values())])
    assert (right.card, right.licence, right.commercial) == (CARDS["yunet"], "MIT", True)
    with pytest.raises(ValueError):
        list(read_table([header, ",".join((row | {column: value}).values())]))
    for other_length in (["a.onnx", "yunet"], [*row.values(), ""]):
        with pytest.raises(ValueError, match="seven columns"):
            list(read_table([header, ",".join(other_length)]))


def test_the_page_of_cards_is_the_one_in_the_repository(capsys):
    """Made anew by: python -m slimfusion models --cards > docs/MODELS.md"""
    assert cli.main(["models", "--cards"]) == 0
    page = capsys.readouterr().out
    assert page == (Path(slimfusion.__file__).parent / "docs" / "MODELS.md").read_text(encoding="utf-8")
    assert [name for name in CARDS if page.count(f"| `{name}` |") < 1] == []
    assert [file.name for file in KNOWN if f"[{file.name}]({file.source})" not in page] == []

"""The pack inside the host before anything runs."""

import json

import pytest
from slimfusion.bench.host_driver import PACK
from slimfusion.bench.workflows import is_widget
from slimfusion.catalog.files import BUNDLED

pytestmark = pytest.mark.host
NODES = {
    "SlimFusionMemoryGuard": ["SLIMFUSION_BUDGET"],
    "SlimFusionLoadModel": ["SLIMFUSION_MODEL"],
    "SlimFusionDetectFaces": ["SLIMFUSION_FACES", "BOUNDING_BOX", "IMAGE"],
    "SlimFusionRestoreFaces": ["IMAGE", "MASK", "SLIMFUSION_REPORT"],
    "SlimFusionRestoreImage": ["IMAGE", "SLIMFUSION_REPORT"],
    "SlimFusionMemoryReport": ["IMAGE", "STRING"],
    "SlimFusionReleaseModels": ["*", "STRING"],
    "SlimFusionDoctor": ["STRING"],
    "SlimFusionSelectFaces": ["SLIMFUSION_FACES", "INT"],
    "SlimFusionFaceMask": ["MASK"],
    "SlimFusionCropFaces": ["IMAGE", "MASK", "SLIMFUSION_CROPS", "SLIMFUSION_REPORT"],
    "SlimFusionPasteFaces": ["IMAGE", "MASK", "SLIMFUSION_REPORT"],
    "SlimFusionIdentity": ["SLIMFUSION_IDENTITY"],
    "SlimFusionSaveIdentity": ["SLIMFUSION_IDENTITY", "STRING"],
    "SlimFusionLoadIdentity": ["SLIMFUSION_IDENTITY"],
    "SlimFusionBlendIdentities": ["SLIMFUSION_IDENTITY"],
    "SlimFusionLikeness": ["FLOAT", "STRING"],
}
# Sockets of the host that no frontend has a widget for, and its plain widgets.
KNOWN_TYPES = {"IMAGE", "MASK", "VIDEO", "*", "UPSCALE_MODEL", "INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}


@pytest.mark.parametrize("lab", ["default"], indirect=True)
class TestBoot:
    def test_the_pack_is_imported_without_complaint(self, lab):
        told = [line for line in lab.host.log().splitlines() if "custom_nodes/slimfusion" in line]
        assert any(line.endswith("custom_nodes/slimfusion") for line in told), "the host did not see the pack"
        assert not [line for line in told if "FAILED" in line or "Cannot import" in line or "Skip " in line]

    @pytest.mark.parametrize(("node", "outputs"), NODES.items())
    def test_a_node_has_its_frozen_id_and_types(self, lab, node, outputs):
        info = lab.info[node]
        assert info["output"] == outputs
        assert info["category"].startswith("SlimFusion")
        assert info["description"]

    def test_every_widget_explains_itself(self, lab):
        silent = [
            f"{node}.{name}"
            for node in NODES
            for group in ("required", "optional")
            for name, spec in lab.info[node]["input"].get(group, {}).items()
            if is_widget(spec) and not spec[1].get("tooltip")
        ]
        assert not silent

    def test_rare_inputs_are_folded_away_where_the_page_can(self, lab):
        assert lab.info["SlimFusionReleaseModels"]["input"]["optional"]["forget_measurements"][1]["advanced"] is True

    def test_every_input_of_a_custom_type_stays_a_socket(self, lab):
        """Frontends have widgets for more types with every release, and send what those hold."""
        loose = [
            f"{node}.{name}: {spec[0]}"
            for node in lab.info
            if node.startswith("SlimFusion")
            for group in ("required", "optional")
            for name, spec in lab.info[node]["input"].get(group, {}).items()
            if isinstance(spec[0], str) and not set(spec[0].split(",")) <= KNOWN_TYPES and not spec[1].get("forceInput")
        ]
        assert not loose

    def test_the_templates_find_their_pictures(self, lab):
        """Every picture that a template names is offered by a host that has just been installed."""
        offered = lab.host.get("/object_info/LoadImage")["LoadImage"]["input"]["required"]["image"][0]
        named = {
            node["widgets_values"][0]
            for file in (PACK / "examples").glob("*.json")
            for node in json.loads(file.read_text(encoding="utf-8"))["nodes"]
            if node["type"] == "LoadImage"
        }
        assert named and named <= set(offered)

    def test_the_bundled_model_heads_the_list(self, lab):
        assert lab.node("SlimFusionLoadModel")["inputs"]["model"] == BUNDLED

    def test_the_example_is_in_the_template_browser(self, lab):
        assert "Restore a portrait" in lab.host.get("/workflow_templates")["slimfusion"]

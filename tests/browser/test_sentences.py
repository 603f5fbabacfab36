"""What Python said in English, in Chinese on a Chinese page: the report, Doctor's list, a failed run."""

import json

import pytest
from playwright.sync_api import expect
from sentences import chinese
from slimfusion.engines.memory.report import Report, Span

pytestmark = pytest.mark.browser
REPORT = Report(
    "net", "cpu", "torch", "fp32", frames=1, faces=1, batch=1, tile=(64, 64), allowed=1 << 30, measured_peak=1 << 28,
    degradations=["tile 64x64 instead of 512x512"], notes=["faces smaller than 24 px, not changed: 2"],
    timeline=[Span("detect", 0.0, 0.5)],
)  # fmt: skip
FINDING = {
    "title": "Memory",
    "state": "advice",
    "detail": "RAM: 0.5 of 8.0 GiB free\nLess than 1 GiB is free on RAM: close what is not needed.",
    "mend": "",
}
# Every sentence with values in it, as the page says it.
SAID = """async table => {
  const { inLanguage } = await import('/extensions/slimfusion/sentences.js');
  const filled = text => text.replace(/\\{(\\d)\\}/g, (_, number) => `V${number}v`);
  return Object.entries(table).map(([english, other]) => [inLanguage(filled(english)), filled(other)]);
}"""


@pytest.fixture
def chinese_editor(editor):
    """The page in Chinese; in English again behind the test."""
    for language in ("zh", "en"):
        editor.host.post("/settings/Comfy.Locale", language)
        editor.page.reload()
        editor.page.wait_for_function("() => window.app?.graph && LiteGraph.registered_node_types.SlimFusionSwapFaces")
        editor.page.wait_for_timeout(3000)
        editor.quiet()
        if language == "zh":
            yield editor


def test_what_python_says_is_chinese_on_a_chinese_page(chinese_editor):
    editor, page = chinese_editor, chinese_editor.page
    assert [pair for pair in page.evaluate(SAID, chinese()) if pair[0] != pair[1]] == []
    page.evaluate("() => { app.clean(); app.graph.clear(); app.canvas.ds.reset(); }")
    restore, doctor = editor.add_node("SlimFusionRestoreFaces"), editor.add_node("SlimFusionDoctor", 800)
    page.wait_for_timeout(800)
    receive = "([id, output]) => app.graph.getNodeById(id).onExecuted(output)"
    page.evaluate(receive, [restore, {"slimfusion_report": [REPORT.as_json()], "text": [REPORT.as_text()]}])
    page.evaluate(receive, [doctor, {"slimfusion_findings": [json.dumps([FINDING])]}])
    listed = editor.element_of(doctor, ".slimfusion-findings")
    expect(listed).to_contain_text("RAM 的空闲内存不足 1 GiB")
    line = editor.element_of(restore, ".slimfusion-line")
    expect(line).to_contain_text("而不是 512x512")
    editor.shoot("chinese-sentences")
    line.click()
    panel = page.locator("dialog.slimfusion-panel")
    for text in ("检测 0.50 s", "而不是 512x512", "小于 24 px 的人脸"):
        expect(panel).to_contain_text(text)
    page.keyboard.press("Escape")
    assert editor.complaints == []

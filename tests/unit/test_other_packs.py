"""What other packs ask for, beside what is installed."""

import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from slimfusion.doctor import other_packs
from slimfusion.doctor.other_packs import Asked, asked_by_packs, asked_in, opencv_findings, unmet
from slimfusion.engines.ort.runtime import Wheel

PIP = f"{sys.executable} -m pip "
HANDS = Asked("hands", "numpy", SpecifierSet("<2"))
EDGES = Asked("edges", "opencv-contrib-python", SpecifierSet())


def pack(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "requirements.txt").write_text(text, encoding="utf-8")


def test_the_lists_of_other_packs_are_read_and_what_is_no_requirement_is_passed_over(tmp_path, monkeypatch):
    pack(tmp_path, "hands", "# 手\n-r more.txt\nnumpy<2  # as of old\ngit+https://a.b/c\nOpenCV_Contrib-Python\n\n")
    pack(tmp_path, "hands of others", "numpy ; python_version < '3'\n")
    pack(tmp_path, "ours", "numpy>=99")
    (tmp_path / "without").mkdir()
    monkeypatch.setattr(other_packs, "OURS", tmp_path / "ours")
    assert list(asked_by_packs(tmp_path)) == [HANDS, Asked("hands", "opencv-contrib-python", SpecifierSet())]


def test_what_a_wheel_asks_for_an_extra_alone_does_not_count():
    lines = ["numpy>=2", 'sympy; extra == "symbolic"']
    assert list(asked_in("opencv-python", lines)) == [Asked("opencv-python", "numpy", SpecifierSet(">=2"))]


def test_a_version_that_somebody_does_not_take_is_said_with_what_suits_all():
    asked = [HANDS, Asked("eyes", "numpy", SpecifierSet(">=1.25")), Asked("eyes", "torch", SpecifierSet())]
    (finding,) = unmet(asked, {"numpy": "2.4.0", "torch": "2.13.0+cpu"})
    assert (finding.title, finding.state) == ("numpy 2.4.0", "advice")
    assert finding.detail == "is installed; hands asks for numpy<2"
    assert finding.mend == PIP + 'install "numpy<2,>=1.25"'
    assert unmet(asked, {"numpy": "1.26.4"}) == []


@pytest.mark.parametrize(
    ("wheels", "asked", "detail", "last"),
    [
        ({"opencv-python": "4.13"}, [HANDS], "", ""),
        ({"opencv-contrib-python": "4.13"}, [EDGES], "", ""),
        ({}, [EDGES], "", ""),
        ({"opencv-python": "4.13"}, [EDGES], "edges asks for modules such as cv2.ximgproc", "contrib-python-headless"),
        ({"opencv-python": "4.1", "opencv-python-headless": "4.2"}, [], "own the same module", "python-headless"),
        (
            {"opencv-python": "4.1", "opencv-contrib-python": "4.2"},
            [],
            "opencv-contrib-python 4.2 own",
            "contrib-python",
        ),
    ],
)
def test_an_opencv_that_is_doubled_or_lacks_what_is_asked_for_is_said(wheels, asked, detail, last):
    findings = opencv_findings(asked, wheels)
    assert len(findings) == bool(detail)
    if detail:
        assert detail in findings[0].detail
        away, put = findings[0].mend.splitlines()
        assert away == PIP + "uninstall -y " + " ".join(wheels) and f"install opencv-{last}" in put.replace('"', "")


def test_packs_are_looked_for_only_in_comfyuis_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(other_packs.opencv, "owners", lambda: {"opencv-python": "4.13"})
    monkeypatch.setattr(other_packs.runtime, "owners", lambda: (Wheel("onnxruntime", "1.32.0"),))
    for folder, found in (("custom_nodes", 1), ("elsewhere", 0)):
        pack(tmp_path / folder, "hands", "numpy<1")
        monkeypatch.setattr(other_packs, "OURS", tmp_path / folder / "ours")
        monkeypatch.setattr(other_packs.metadata, "requires", lambda name: None)
        told = other_packs.sharing_findings()
        assert [each.detail for each in told] == ["is installed; hands asks for numpy<1"] * found


def test_what_a_wheel_itself_asks_for_counts(monkeypatch):
    """opencv-python 4.13 beside numpy 1.26, as somebody's downgrade leaves it."""
    monkeypatch.setattr(other_packs.opencv, "owners", lambda: {"opencv-python": "4.13"})
    monkeypatch.setattr(other_packs.runtime, "owners", tuple)
    monkeypatch.setattr(other_packs.metadata, "requires", lambda name: ["numpy>=2"])
    monkeypatch.setattr(other_packs, "installed", lambda names: {"numpy": "1.26.4"})
    (finding,) = other_packs.sharing_findings()
    assert finding.detail == "is installed; opencv-python asks for numpy>=2"

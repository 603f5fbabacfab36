"""The doctor's findings, on machines that are not this one, and a whole look at the one that is."""

import hashlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch as real_torch
from slimfusion import cli, opencv
from slimfusion.catalog.cards import CARDS
from slimfusion.catalog.files import BUNDLED, BUNDLED_FILE
from slimfusion.catalog.found import Found
from slimfusion.catalog.known import KNOWN
from slimfusion.commands.doctor import PROBLEM
from slimfusion.doctor import examine as doctor
from slimfusion.doctor import model_findings as model_findings_module
from slimfusion.doctor.examine import GIB, Finding, Level, Torch
from slimfusion.doctor.model_findings import model_finding, model_findings
from slimfusion.engines.memory.factors import FILE, Factors
from slimfusion.engines.ort.probe import Probe
from slimfusion.engines.ort.providers import PROVIDERS
from slimfusion.engines.ort.runtime import Installation, Wheel

PIP = f"{sys.executable} -m pip "
RTX = Torch("2.13.0+cu130", "CUDA 13.0", "13.0", 9, "RTX 3060", (8, 6))
GPU_WHEEL = Installation(
    "usable", (Wheel("onnxruntime-gpu", "1.31.1"),), "1.31.1", "13.0", ("CUDAExecutionProvider", "CPUExecutionProvider")
)


def states(findings):
    return {each.title: each.state for each in findings}


def fake_torch(**changes):
    """torch as built for a card that is there."""
    cuda = SimpleNamespace(
        is_available=lambda: True, get_device_name=lambda: "RTX 3060", get_device_capability=lambda: (8, 6)
    )
    backends = SimpleNamespace(
        cudnn=SimpleNamespace(version=lambda: 91002), mps=SimpleNamespace(is_available=lambda: False)
    )
    version = SimpleNamespace(cuda="13.0", hip=None)
    return SimpleNamespace(**{"__version__": "2.13.0+cu130", "cuda": cuda, "backends": backends, "version": version}
                           | changes)  # fmt: skip


def test_torch_is_asked_for_what_matters():
    assert doctor.torch_facts(fake_torch()) == RTX
    rocm = doctor.torch_facts(fake_torch(version=SimpleNamespace(cuda=None, hip="7.1")))
    assert (rocm.built_for, rocm.cuda, rocm.capability) == ("ROCm 7.1", "", None)
    here = doctor.torch_facts(real_torch)
    assert here.version == real_torch.__version__ and not here.error


def test_a_torch_that_does_not_load_is_a_problem():
    (finding,) = doctor.torch_findings(Torch(error="OSError: no such file"))
    assert finding.state == "problem" and finding.mend.startswith(PIP + "install torch torchvision")
    assert "no such file" in finding.detail


@pytest.mark.parametrize(
    ("torch", "state", "mend"),
    [
        (Torch("2.13.0", "the CPU"), "ok", ""),
        (Torch("2.13.0", "the CPU", card="RTX"), "advice", "install --force-reinstall torch torchvision --index"),
        (Torch("2.13.0", "CUDA 13.0", card="RTX 3060"), "problem", ""),
        (Torch(error="no", card="RTX 3060"), "problem", "install torch torchvision --index-url"),
        (replace(RTX, card="RTX 3060"), "ok", ""),
    ],
)
def test_a_card_that_torch_does_not_use_is_worth_a_word(torch, state, mend):
    (finding,) = doctor.torch_findings(torch)
    assert finding.state == state and finding.mend.startswith(PIP + mend if mend else "")
    assert bool(finding.mend) == bool(mend)


@pytest.mark.parametrize(
    ("version", "wide", "state"), [((3, 11), True, "ok"), ((3, 9), True, "problem"), ((3, 11), False, "problem")]
)
def test_python_must_be_new_and_wide(version, wide, state):
    assert doctor.python_finding(version, wide).state == state


def test_what_everything_needs_is_a_problem_and_the_rest_advice():
    missing = "ModuleNotFoundError: No module named 'spandrel'"
    finding = doctor.package_finding("spandrel", "spandrel", "", missing, "2.13.0")
    assert finding == Finding("spandrel", "problem", "is not installed", PIP + "install spandrel")
    finding = doctor.package_finding("lz4", "lz4", "the detector", "ImportError: DLL", "2.13.0")
    assert finding == Finding("lz4", "advice", "does not load: ImportError: DLL; the detector needs it",
                              PIP + "install lz4")  # fmt: skip
    broken = doctor.package_finding("cv2", "opencv-python", "", "ImportError: libGL", "2.13.0")
    assert (broken.state, broken.mend) == ("advice", opencv.mend(list(opencv.owners())))
    assert doctor.package_finding("cv2", "opencv-python", "", "", "").state == "ok"


@pytest.mark.parametrize(
    ("torch", "words"),
    [
        ("2.13.0+cu130", "torchvision==0.28.0 --index-url https://download.pytorch.org/whl/cu130"),
        ("2.5.1", "torchvision==0.20.1"),
        ("3.0.0", "install --upgrade torch torchvision"),
        ("2.14.0a0+git1234", "install --upgrade torch torchvision"),
        ("", "install --upgrade torch torchvision"),
    ],
)
def test_torchvision_follows_torch(torch, words):
    finding = doctor.package_finding("torchvision", "torchvision", "", "RuntimeError: operator nms", torch)
    assert finding.mend.endswith(words)


def test_a_package_that_is_only_read_must_be_of_its_version():
    assert doctor.presence("slimfusion_nothing", "x==1").startswith("ModuleNotFoundError")
    assert doctor.presence("pytest", f"pytest=={pytest.__version__}") == ""
    assert doctor.presence("pytest", "pytest==0.1") == f"version {pytest.__version__} instead of 0.1"


def test_cuda_of_one_major_version_is_fine():
    findings = doctor.onnxruntime_findings(GPU_WHEEL, RTX, "x86_64")
    assert states(findings) == {"onnxruntime 1.31.1": "ok", "CUDA": "ok"}


@pytest.mark.parametrize(
    ("torch", "title", "words"),
    [
        (replace(RTX, cuda="12.8"), "CUDA", "torch 12.8, onnxruntime 13.0"),
        (replace(RTX, cudnn=8), "cuDNN", "torch brings cuDNN 8, onnxruntime 1.31.1 needs 9"),
        (replace(RTX, capability=(6, 1)), "Card", "no code for RTX 3060 (compute capability 6.1)"),
    ],
)
def test_what_does_not_go_together_is_a_problem_with_a_command(torch, title, words):
    findings = doctor.onnxruntime_findings(GPU_WHEEL, torch, "x86_64")
    (wrong,) = [each for each in findings if each.state == "problem"]
    assert wrong.title == title and words in wrong.detail and wrong.mend.startswith(PIP)


def test_where_there_is_no_card_cuda_is_not_compared():
    assert states(doctor.onnxruntime_findings(GPU_WHEEL, Torch("2.13.0", "the CPU"), "x86_64")) == {
        "onnxruntime 1.31.1": "ok"
    }


@pytest.mark.parametrize(
    ("state", "expected"),
    [("missing", "advice"), ("old", "advice"), ("broken", "problem"), ("empty", "problem"), ("doubled", "problem")],
)
def test_a_bad_installation_is_said_with_its_command(state, expected):
    found = Installation(state, sentence="It is so.", mend="pip this")
    finding = doctor.onnxruntime_findings(found, Torch("2.13.0"), "x86_64")[0]
    assert (finding.state, finding.detail, finding.mend) == (expected, "It is so.", "pip this")


def test_a_provider_that_runs_says_how_its_memory_is_kept():
    kept = {"cuda": "enforced", "directml": "watched", "webgpu": "predicted"}
    for key, how in kept.items():
        finding = doctor.provider_finding(Probe(key, True, is_watched=how == "watched"), RTX, GPU_WHEEL, "win32")
        assert finding.state == "ok" and finding.title == PROVIDERS[key].title
        assert f"memory {how}: " in finding.detail


@pytest.mark.parametrize(
    ("key", "reason", "state", "mend"),
    [
        ("cuda", "a library does not load", "problem", PIP + "uninstall -y onnxruntime-gpu\n"),
        ("webgpu", "no GPU", "advice", "sudo apt install libvulkan1 mesa-vulkan-drivers"),
        ("webgpu", "1.23 is below the minimum required version", "advice", PIP + "install --upgrade onnxruntime-gpu"),
        ("webgpu", "The plugin does not load: x", "advice",
         PIP + "install --force-reinstall --no-deps onnxruntime-ep-webgpu"),
        ("coreml", "no", "advice", ""),
        ("cuda", "CUDA failure 35: CUDA driver version is insufficient", "problem", ""),
    ],
)  # fmt: skip
def test_a_provider_that_does_not_run_says_why(key, reason, state, mend):
    finding = doctor.provider_finding(Probe(key, False, reason), RTX, GPU_WHEEL, "linux")
    assert finding.state == state and reason in finding.detail
    assert finding.mend.startswith(mend) and bool(finding.mend) == bool(mend)


def test_without_a_card_its_providers_need_no_mending():
    finding = doctor.provider_finding(Probe("cuda", False, "no library"), Torch("2.13.0"), GPU_WHEEL, "linux")
    assert finding.state == "ok" and finding.mend == "" and "no NVIDIA card" in finding.detail


def test_little_memory_is_worth_a_word():
    plenty, little = Level("RAM", 16 * GIB, 8 * GIB), Level("RTX", 4 * GIB, GIB // 2)
    assert doctor.memory_finding([plenty]) == Finding("Memory", "ok", "RAM: 8.0 of 16.0 GiB free")
    finding = doctor.memory_finding([plenty, little])
    assert finding.state == "advice" and "Less than 1 GiB is free on RTX" in finding.detail


def test_a_model_says_what_it_is_and_a_damaged_one_why_not(tmp_path):
    shutil.copy(BUNDLED_FILE, tmp_path / "a copy.safetensors")
    (tmp_path / "名 x.pth").write_bytes(b"<html>")
    bundled, *others = model_findings([tmp_path], hashes=True)
    assert (bundled.title, bundled.state) == (BUNDLED, "ok")
    digest = hashlib.sha256(BUNDLED_FILE.read_bytes()).hexdigest()
    assert "SlimUnet for whole images, 3.4 M parameters" in bundled.detail and f"SHA-256 {digest[:8]}" in bundled.detail
    assert "licence: Apache-2.0" in bundled.detail
    copy, damaged = sorted(others, key=lambda each: each.title)
    assert copy.state == "ok" and copy.detail.splitlines()[1:] == [
        str(tmp_path / "a copy.safetensors"), bundled.detail.splitlines()[-1]
    ]  # fmt: skip
    assert damaged.state == "advice" and "is damaged or not a model file" in damaged.detail


def test_a_bundled_network_that_does_not_load_is_a_problem(monkeypatch, tmp_path):
    (tmp_path / "slim.safetensors").write_bytes(b"half")
    monkeypatch.setattr(model_findings_module, "BUNDLED_FILE", tmp_path / "slim.safetensors")
    (finding,) = model_findings([], hashes=False)
    assert finding.state == "problem"


@pytest.mark.parametrize(
    ("found", "state", "words"),
    [
        (Found(Path("a.onnx"), 3_000_000, "verified", KNOWN[0], CARDS["yunet"]), "ok", "verified, yunet (detector)"),
        (Found(Path("a.onnx"), 3, "unverified", None, CARDS["yunet"], "n"), "ok", "licence: not stated, commercial"),
        (Found(Path("a.onnx"), 3, "unknown", note="its content is not known"), "advice", "its content is not known"),
        (Found(Path("a.pth"), 3, "damaged", note="is half a download"), "advice", "is half a download"),
    ],
)
def test_what_the_catalogue_knows_is_said(found, state, words):
    finding = model_finding(found)
    assert finding.state == state and words in finding.detail


def test_a_card_that_nothing_uses_gets_the_provider_that_runs_anywhere():
    cpu, plain = Torch("2.13.0", "the CPU"), Installation("usable", plugins=())
    (finding,) = doctor.idle_cards(["Iris Xe"], cpu, plain, ["cpu"])
    assert finding.state == "advice" and "Iris Xe" in finding.detail
    assert finding.mend == PIP + "install onnxruntime-ep-webgpu"
    (finding,) = doctor.idle_cards(["Iris Xe"], cpu, Installation("missing"), [])
    assert finding.mend == PIP + "install onnxruntime onnxruntime-ep-webgpu"
    assert doctor.idle_cards(["Iris Xe"], cpu, plain, ["directml", "cpu"]) == []
    assert doctor.idle_cards(["RTX"], RTX, plain, ["cpu"]) == [] == doctor.idle_cards([], cpu, plain, [])


def test_every_meter_is_asked(monkeypatch):
    monkeypatch.setattr(doctor.nvml, "devices", lambda: [SimpleNamespace(index=1, name="RTX")])
    monkeypatch.setattr(doctor.nvml, "device_bytes", lambda index: (8 * GIB, 3 * GIB) if index == 1 else None)
    adapters = [SimpleNamespace(name="Basic", software=True), SimpleNamespace(name="Iris", software=False)]
    monkeypatch.setattr(doctor.dxgi, "adapters", lambda: adapters)
    monkeypatch.setattr(doctor.dxgi, "usage", lambda index: SimpleNamespace(budget=index * GIB, used_local=GIB // 4))
    seen = doctor.levels(real_torch)
    assert seen[-2] == Level("RTX, by its driver", 8 * GIB, 5 * GIB)
    assert seen[-1] == Level("Iris, as Windows lets us", GIB, GIB * 3 // 4)
    assert any(each.name == "RAM" and 0 < each.free <= each.total for each in seen)


def test_the_text_has_the_commands_below_what_they_mend():
    findings = [Finding("a", "ok", "one\ntwo"), Finding("b", "problem", "bad", "first\nsecond")]
    assert doctor.as_text(findings).splitlines() == [
        "ok       a: one",
        "         two",
        "problem  b: bad",
        "         > first",
        "         > second",
        "1 problem, 0 to consider.",
    ]
    assert doctor.summary(findings[:1]) == "Everything that was looked at works."


@pytest.fixture
def quick(monkeypatch):
    """Probes that take no time: they are tested with the providers."""
    monkeypatch.setattr(doctor, "probe", lambda provider, request: Probe(provider.key, provider.key == "cpu", "no"))


@pytest.mark.usefixtures("quick")
def test_the_command_prints_json_and_text(capsys, tmp_path):
    status = cli.main(["doctor", "--json", str(tmp_path)])
    content = json.loads(capsys.readouterr().out)
    assert status == (0 if content["ok"] else PROBLEM)
    titles = [each["title"] for each in content["findings"]]
    assert {"numpy", "Memory", BUNDLED} <= set(titles) and titles[0].startswith("Python 3.")
    assert all(set(each) == {"title", "state", "detail", "mend"} for each in content["findings"])
    cli.main(["doctor"])
    assert capsys.readouterr().out.splitlines()[-1] == content["summary"]


@pytest.mark.usefixtures("quick")
def test_a_problem_is_an_exit_status(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "installed", lambda: Installation("empty", sentence="Empty.", mend="pip install it"))
    assert cli.main(["doctor"]) == PROBLEM
    assert "problem  onnxruntime: Empty.\n         > pip install it" in capsys.readouterr().out


def test_without_torch_the_rest_is_still_said(monkeypatch):
    monkeypatch.setattr(doctor, "imported", lambda name: (None, f"ModuleNotFoundError: No module named '{name}'"))
    monkeypatch.setattr(doctor, "installed", lambda: Installation("missing", sentence="It is not there.", mend="m"))
    findings = doctor.examine(list)
    assert states(findings)["torch"] == "problem" and findings[-1] == Finding("Memory", "ok", "no meter works here")


def test_a_folder_that_is_not_there_is_a_sentence(capsys, tmp_path):
    assert cli.main(["doctor", str(tmp_path / "none")]) == cli.NOTHING_DONE
    assert "There is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("named", [".", "models", "user", "none", ""])
def test_measurements_are_forgotten_on_request(tmp_path, capsys, monkeypatch, named):
    state = tmp_path / "user" / "__slimfusion"
    state.mkdir(parents=True)
    (tmp_path / "models").mkdir()
    monkeypatch.setattr("slimfusion.commands.doctor.COMFYUI", tmp_path)
    words = ["doctor", "--forget", *([str(tmp_path / named)] if named else [])]
    if named == "none":
        assert cli.main(words) == cli.NOTHING_DONE and "There is no folder" in capsys.readouterr().err
        return
    assert cli.main(words) == 0 and "nothing was measured yet" in capsys.readouterr().out
    Factors().measured("net", 1.7, state)
    assert cli.main(words) == 0
    assert capsys.readouterr().out == f"forgot 1 measurement of memory ({state / FILE})\n"
    assert Factors().value("net", 1.15, state) == 1.15

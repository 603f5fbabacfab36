"""What Linux says of graphics cards, in pages and files made here as its drivers write them."""

import os

import pytest
from slimfusion.engines.drivers import drm
from slimfusion.engines.memory.budget import MIB

XE = """pos:\t0
flags:\t02100002
drm-driver:\txe
drm-client-id:\t{client}
drm-pdev:\t0000:03:00.0
drm-total-system:\t9 MiB
drm-resident-system:\t2048 KiB
drm-total-vram0:\t900 MiB
drm-resident-vram0:\t300 MiB
drm-shared-vram0:\t0
drm-cycles-rcs:\t28257900
"""
AMDGPU = """drm-driver:\tamdgpu
drm-client-id:\t5
drm-pdev:\t0000:04:00.0
drm-memory-vram:\t102400 KiB
drm-memory-gtt:\t4096
"""
SILENT = "pos:\t0\ndrm-driver:\tamdgpu\n"


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """Opens cards: (number of the file, name of the card, what its page says)."""
    files, pages = tmp_path / "fd", tmp_path / "fdinfo"
    files.mkdir()
    pages.mkdir()
    for name, folder in (("OPEN_FILES", files), ("PAGES", pages), ("CARDS", tmp_path / "cards")):
        monkeypatch.setattr(drm, name, folder)
    os.symlink("/dev/null", files / "0")
    os.symlink("/dev/dri/card9", files / "99")  # closed before its page was read

    def open_card(number, node, page):
        os.symlink(f"/dev/dri/{node}", files / str(number))
        (pages / str(number)).write_text(page)

    return open_card


def test_all_regions_with_something_behind_them_count_and_a_client_once(opened):
    assert drm.own_bytes() == 0
    for number in (3, 4):  # a copy of the descriptor
        opened(number, "renderD128", XE.format(client=7))
    assert drm.own_bytes() == 302 * MIB
    opened(5, "renderD128", XE.format(client=8))
    opened(6, "renderD129", AMDGPU)
    assert drm.own_bytes() == 604 * MIB + 100 * MIB + 4096


def test_where_the_page_says_nothing_the_card_says_what_all_hold(opened, tmp_path):
    device, cards = tmp_path / "device", tmp_path / "cards"
    device.mkdir()
    for name in ("card0", "renderD128"):  # two names of one card
        (cards / name).mkdir(parents=True)
        os.symlink(device, cards / name / "device")
    opened(3, "card0", SILENT)
    opened(4, "renderD128", SILENT)
    assert drm.own_bytes() == 0
    (device / "mem_info_vram_used").write_text(f"{700 * MIB}\n")
    (device / "mem_info_gtt_used").write_text("nonsense")
    assert drm.own_bytes() == 700 * MIB


def test_without_the_kernels_files_nothing_is_held(monkeypatch, tmp_path):
    monkeypatch.setattr(drm, "OPEN_FILES", tmp_path / "missing")
    assert drm.own_bytes() == 0

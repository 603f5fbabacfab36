"""Pictures of several people in one run: each comes out as it does alone."""

from dataclasses import replace

import pytest
import skimage.data
import torch
from networks import face_model, save_upscaler
from planted_faces import face_at
from slimfusion.catalog.files import BUNDLED, BUNDLED_FILE
from slimfusion.engines import run as engine_run
from slimfusion.engines.cache import SESSIONS
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.memory.budget import GIB, MIB, MemoryBudget
from slimfusion.errors import BudgetError, SettingError
from slimfusion.faces import restore, together
from slimfusion.faces.face import Faces
from slimfusion.faces.identity.keeping import Keeping
from slimfusion.faces.restore import Restoring, restore_faces
from slimfusion.faces.together import restore_together
from slimfusion.models.torch_model import torch_model

HOST = StandaloneHost("cpu")
FULL = MemoryBudget(GIB, mode="quality")
SIZES = ((96, 120), (150, 110), (96, 120), (200, 240))


@pytest.fixture(autouse=True)
def nothing_is_left_loaded():
    yield
    SESSIONS.release()


@pytest.fixture
def planted(monkeypatch):
    """One face in each picture, of a size of its own, and none in the third."""

    def detect(frames, host, settings, budget, report):
        height, width = frames.shape[1:3]
        marked = bool(frames[0, 0, 0, 0] == 0)
        faces = () if marked else (face_at(0, width / 2, height / 2, 60.0 + height / 10),)
        return Faces((faces,), height, width)

    monkeypatch.setattr(together, "detect_faces", detect)
    monkeypatch.setattr(restore, "detect_faces", detect)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    return {
        "face network": face_model(),
        "bundled": torch_model(BUNDLED_FILE, BUNDLED),
        "upscaler": torch_model(save_upscaler(tmp_path_factory.mktemp("models") / "net.pth")),
    }


def pictures(channels: int = 3) -> list[torch.Tensor]:
    torch.manual_seed(3)
    made = [torch.rand(*size, channels) * 0.9 + 0.05 for size in SIZES]
    made[2][0, 0, 0] = 0
    return made


@pytest.mark.parametrize("name", ["face network", "bundled", "upscaler"])
@pytest.mark.parametrize("keeping", ["off", "strong"])
def test_each_comes_out_as_it_does_alone(networks, planted, name, keeping):
    restoring = Restoring(strength=0.8, keeping=Keeping(keeping))
    made = restore_together(pictures(4), networks[name], FULL, HOST, restoring)
    for picture, done in zip(pictures(4), made, strict=True):
        alone = restore_faces(picture[None], networks[name], FULL, HOST, restoring)
        assert torch.allclose(done.frames, alone.frames, atol=1e-5)
        assert torch.equal(done.mask, alone.mask)
        assert (done.report.faces, done.report.frames) == (alone.report.faces, 1)
        assert [row.face for row in done.report.likeness] == [row.face for row in alone.report.likeness]
        assert {face.frame for face in done.faces.frames[0]} <= {0} and done.faces.count == alone.faces.count
    assert not torch.equal(made[0].frames[0], pictures(4)[0])
    assert torch.equal(made[2].frames[0], pictures(4)[2])
    assert "no face was found: all frames are unchanged" in made[2].report.notes
    assert "no face was found: all frames are unchanged" not in made[0].report.notes


def test_the_faces_of_all_are_one_run(networks, planted, monkeypatch):
    opened, sizes, crops = [], [], engine_run.Run.crops

    def counted(self, items):
        opened.append(self)
        listed = list(items)
        sizes.append(len(listed))
        return crops(self, listed)

    monkeypatch.setattr(engine_run.Run, "crops", counted)
    restore_together(pictures(), networks["face network"], FULL, HOST)
    assert len(opened) == 1 and sizes == [3]


def test_real_faces_are_found_in_each_of_them(networks):
    portrait = torch.from_numpy(skimage.data.astronaut()[:256, 100:356] / 255).float()
    empty = torch.full((64, 64, 3), 0.5)
    made = restore_together([portrait, empty, portrait.flip(1)], networks["bundled"], FULL, HOST)
    assert [done.report.faces for done in made] == [1, 0, 1]
    assert made[0].mask.max() == 1 and not made[1].mask.any()
    alone = restore_faces(portrait[None], networks["bundled"], FULL, HOST)
    assert torch.allclose(made[0].frames, alone.frames, atol=1e-5)


def test_nothing_to_do_is_no_error(networks):
    assert restore_together([], networks["bundled"], FULL, HOST) == []


def test_what_belongs_to_one_picture_is_refused(networks, planted):
    some = Faces((), 96, 120)
    for restoring in (Restoring(faces=some), Restoring(mask=torch.ones(1, 96, 120))):
        with pytest.raises(SettingError, match="belong to one picture"):
            restore_together(pictures(), networks["bundled"], FULL, HOST, restoring)
    with pytest.raises(SettingError, match="batch of 2"):
        restore_together([torch.rand(2, 64, 64, 3)], networks["bundled"], FULL, HOST)


def test_a_budget_that_is_too_small_is_said(networks, planted):
    with pytest.raises(BudgetError):
        restore_together(pictures(), networks["bundled"], replace(FULL, limit=MIB), HOST)

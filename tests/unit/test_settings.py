"""Settings made by hand with numbers that are none."""

import dataclasses
import math

import pytest
from slimfusion.engines.job import Options
from slimfusion.errors import SettingError
from slimfusion.faces.detect.settings import DetectionSettings
from slimfusion.faces.fuse.classic import Weights
from slimfusion.faces.identity.select import Choice
from slimfusion.faces.restore import Restoring
from slimfusion.faces.swap.boost import factor_for
from slimfusion.video.pipeline import ClipSettings

SETTINGS = (Options, DetectionSettings, Choice, Restoring, ClipSettings, Weights)
NUMBERS = [
    (kind, field.name)
    for kind in SETTINGS
    for field in dataclasses.fields(kind)
    if field.type in ("int", "float", "float | None")
]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, "x"])
@pytest.mark.parametrize(("kind", "name"), NUMBERS, ids=lambda each: getattr(each, "__name__", each))
def test_a_number_that_is_none_is_refused(kind, name, wrong):
    with pytest.raises(SettingError, match=f"(?s){str(wrong).lstrip('-')}"):
        kind(**{name: wrong})


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1, 1e300, "x"])
def test_a_pixel_boost_that_is_none_is_refused(wrong):
    with pytest.raises(SettingError):
        factor_for(128, wrong)

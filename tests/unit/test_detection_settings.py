"""The values that detection takes, and the sentence for each that it does not."""

from typing import Any

import pytest
from slimfusion.errors import SettingError
from slimfusion.faces.detect.settings import DetectionSettings


def test_the_defaults_are_mtcnn_and_turned_frames_only_when_needed() -> None:
    settings = DetectionSettings()
    assert (settings.detector, settings.turned, settings.min_face) == ("mtcnn", "auto", 0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"detector": "haar"}, "haar"),
        ({"turned": "sometimes"}, "sometimes"),
        ({"score": 1.5}, "1.5"),
        ({"score": float("nan")}, "nan"),
        ({"max_faces": -1}, "max_faces"),
        ({"min_face": float("nan")}, "min_face.*nan"),
        ({"max_face": float("inf")}, "max_face.*inf"),
        ({"min_face": 200, "max_face": 100}, "200"),
    ],
)
def test_values_out_of_range_are_refused_by_name(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        DetectionSettings(**values)

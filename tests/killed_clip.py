"""A process that works on a clip with a planted face and a network of known effect: to be killed, and run again.

python killed_clip.py SOURCE TARGET [SECONDS_A_FRAME [CODEC]]
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import conftest  # noqa: F401, makes the package importable
from networks import face_model
from planted_faces import planted_following
from slimfusion.engines.host import StandaloneHost
from slimfusion.video import look
from slimfusion.video.pipeline import ClipSettings, process_video
from slimfusion.video.steps import RestoreStep

SEGMENT_SECONDS = 0.2


def main(source: str, target: str, seconds: str = "0", codec: str = "source") -> None:
    look.SEGMENT_SECONDS = SEGMENT_SECONDS
    look.follow_faces = planted_following
    host = StandaloneHost("cpu", progress=lambda stage, done, total: time.sleep(float(seconds)))
    settings = ClipSettings(codec=codec, ram=512 << 20, detection=look.DetectionSettings(min_face=8))
    report = process_video(source, target, [RestoreStep(face_model())], host=host, settings=settings)
    print(report.as_json())


if __name__ == "__main__":
    main(*sys.argv[1:])

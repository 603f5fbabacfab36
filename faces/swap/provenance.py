"""What a picture with swapped faces says of itself."""

from __future__ import annotations

from datetime import datetime, timezone

from ...engines.memory.report import Report
from ...version import __version__
from ..pictures.notes import Note


def provenance_note(report: Report) -> Note | None:
    """What was done to the picture, for those who see it later; None where no face was swapped."""
    if not report.faces:
        return None
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"tool": f"SlimFusion {__version__}", "done": "faces swapped", "model": report.model, "time": now}

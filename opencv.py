"""The single door to OpenCV: `from .opencv import cv2`, or an error that names what to install."""

from .errors import DependencyError

INSTALL = "pip install --force-reinstall opencv-python-headless"

try:
    import cv2
except ImportError as error:  # absent, or the desktop build without libGL / libgthread on a server
    raise DependencyError(
        f"OpenCV does not load ({error}): run `{INSTALL}`, the build that needs no display libraries."
    ) from error
if not hasattr(cv2, "warpAffine"):  # removing one of two OpenCV packages leaves an empty folder that imports
    raise DependencyError(f"OpenCV is installed only in part (no warpAffine): run `{INSTALL}` to repair it.")

__all__ = ["cv2"]

"""What stands for OpenCV where it is not installed: the same functions by numpy, scipy, torch and Pillow.

ComfyUI brings these four, so that the nodes run on a fresh one. What is not here is an error that says what to install:
reading and writing of picture files, and optical flow.
"""

from __future__ import annotations

from typing import Any

from . import constants, drawing, filters, sampling, shapes, values

PARTS: dict[str, Any] = {
    **{name: value for name, value in vars(constants).items() if not name.startswith("_")},
    "GaussianBlur": filters.gaussian_blur,
    "Sobel": filters.sobel,
    "Subdiv2D": shapes.Subdivision,
    "absdiff": values.absdiff,
    "addWeighted": values.add_weighted,
    "calcHist": values.histogram,
    "circle": drawing.circle,
    "connectedComponents": filters.connected_components,
    "convexHull": shapes.convex_hull,
    "copyMakeBorder": sampling.copy_make_border,
    "createCLAHE": values.Contrast,
    "cvtColor": values.colours,
    "dilate": filters.dilate,
    "distanceTransform": filters.distance_transform,
    "erode": filters.erode,
    "fillConvexPoly": shapes.fill_polygon,
    "fillPoly": shapes.fill_polygons,
    "getStructuringElement": filters.structuring_element,
    "getTextSize": drawing.text_size,
    "integral": values.integral,
    "morphologyEx": filters.morphology,
    "putText": drawing.put_text,
    "pyrDown": filters.pyr_down,
    "pyrUp": filters.pyr_up,
    "rectangle": drawing.rectangle,
    "remap": sampling.remap,
    "resize": sampling.resize,
    "warpAffine": sampling.warp_affine,
}

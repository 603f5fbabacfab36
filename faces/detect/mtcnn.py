"""MTCNN: face boxes and five points from three small cascaded networks.

Zhang, Zhang, Li, Qiao: "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks",
2016. P-net proposes boxes on a pyramid, R-net rejects and refines them, O-net decides and gives the points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...errors import ImageError, SettingError
from ..face import Face
from .area import Sums, exposure_gain, level, patches, sums
from .boxes import apply_deltas, nms, to_square
from .mtcnn_networks import channels_last, phased, run_onet, run_pnet, run_rnet
from .mtcnn_weights import load_weights
from .rereading import checked
from .views import DOUBTFUL_SCORE, Look, as_candidates, count_doubtful, joined, merged, rank, turned_back

CELL, STRIDE = 12, 2  # P-net's window and the step of its output
PYRAMID_STEP = 0.709
P_THRESHOLD, R_THRESHOLD = 0.6, 0.7
BASE_FACE = 16  # px of the smallest face in the copy of a large frame that the pyramid is made of
TABLE_PIXELS = 1 << 21  # of the frames looked at together, whose tables of sums take 12 bytes for each
P_PIXELS_AT_ONCE = 1 << 18  # of one piece of P-net's input, whose first layer takes 80 bytes for each
# By their side: 8 to 10 MiB together, no more than P-net takes of a small frame, so that a crowd takes no more than one
# face does.
PATCHES_AT_ONCE = {24: 64, 48: 16}
MOST_CELLS = 1 << 17  # candidates of a pyramid level, best first: hundreds of bytes each, and noise has no end of them
FOREIGN_BOX_SCALES = (1.0, 0.8, 1.25)  # other detectors draw their boxes tighter or looser

Check = Callable[[], None]


class Mtcnn:
    """The detector: holds the three networks (2 MB) and nothing else, so it may be kept and shared."""

    def __init__(self) -> None:
        """Raises DependencyError when the `mtcnn` package or a reader of its files is missing or damaged."""
        self.pnet, self.rnet, self.onet = (channels_last(load_weights(name)) for name in ("pnet", "rnet", "onet"))
        self.pnet = channels_last(phased(self.pnet))

    @torch.inference_mode()
    def detect(
        self,
        frames: torch.Tensor,
        score: float = 0.8,
        min_face: int | None = None,
        max_faces: int = 0,
        check: Check | None = None,
    ) -> list[list[Face]]:
        """The faces of each frame, best first, from left to right among equals.

        frames: (B, H, W, 3 or 4) float32 0..1 RGB on the CPU; alpha is not looked at, NaN counts as black.
        score: least confidence of O-net. min_face: about the side in pixels of the smallest face looked for,
        at least 12; None takes a 36th of the short edge, at least 24. max_faces: keep so many in each frame;
        0 keeps all. check: called between pieces of work; may raise to interrupt.

        Raises ImageError for another layout and SettingError for a setting outside its range.
        """
        check_frames(frames)
        check_settings(score, min_face, max_faces)
        smallest = smallest_face(frames.shape[1:3], min_face)
        call = check or nothing
        per_frame: list[list[Face]] = []
        shrink = max(1, smallest // BASE_FACE)
        height, width = (length // shrink for length in frames.shape[1:3])
        together = max(1, TABLE_PIXELS // max(1, height * width))
        for first in range(0, len(frames), together):
            pictures = [frame.numpy() for frame in frames[first : first + together]]
            views = [sums(picture, shrink, exposure_gain(picture)) for picture in pictures]
            for faces in self._found(views, smallest, score, first, call):
                per_frame.append(faces[:max_faces] if max_faces else faces)
        return per_frame

    @torch.inference_mode()
    def look(
        self,
        frames: torch.Tensor,
        turns: Sequence[int] = (0,),
        score: float = 0.8,
        min_face: int | None = None,
        check: Check | None = None,
    ) -> list[Look]:
        """What is seen in each frame turned so many times by 90 degrees; points are read again before they count.

        The rest is as in `detect`; frames are looked at one by one.
        """
        check_frames(frames)
        check_settings(score, min_face, 0)
        smallest, call = smallest_face(frames.shape[1:3], min_face), check or nothing
        shrink, looks = max(1, smallest // BASE_FACE), []
        for frame in frames:
            picture, parts, weak, dropped = frame.numpy(), [], [], 0
            gain = exposure_gain(picture)
            for turn in turns:
                view = sums(picture, shrink, gain, turn)
                shape = view.frame.shape[-2::-1] if turn % 2 else view.frame.shape[:2]
                (seen,) = self._found([view], smallest, min(score, DOUBTFUL_SCORE), 0, call)
                faces = [face for face in seen if face.score >= score]
                right = [face for face in checked(self.onet, view, faces) if face is not None]
                dropped += len(faces) - len(right)
                parts.append(turned_back(as_candidates(right), shape, turn))
                weak.append(turned_back(as_candidates(face for face in seen if face.score < score), shape, turn))
                del view  # its table goes before the next one comes
            # Two candidates that were read again may have come to the same face.
            detections = merged(joined(parts))
            looks.append(Look(detections, dropped, count_doubtful(joined(weak), detections)))
        return looks

    def _found(self, views: list[Sums], smallest: int, score: float, first: int, check: Check) -> list[list[Face]]:
        """The faces of frames of one size, the first of which has the index `first`."""
        boxes, owners = self._proposed(views, smallest, check)
        boxes, owners = self._refined(views, boxes, owners, check)
        return self._decided(views, boxes, owners, score, first, check)

    @torch.inference_mode()
    def landmarks_in_boxes(self, frame: torch.Tensor, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The five points inside boxes that come from elsewhere, and how sure O-net is of a face there.

        frame: (H, W, 3 or 4) float32 0..1 RGB on the CPU. boxes: (N, 4) x0 y0 x1 y1 in pixels.
        Returns landmarks (N, 5, 2) float32 in pixels and scores (N,) float32 0..1.
        Raises ImageError for another layout and SettingError for boxes of another shape.
        """
        check_frames(frame[None])
        boxes = np.asarray(boxes, np.float64)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
            raise SettingError(f"Boxes must be finite rows of x0 y0 x1 y1, not {boxes.shape} numbers.")
        if not len(boxes):
            return np.empty((0, 5, 2), np.float32), np.empty(0, np.float32)
        picture, owners = frame.numpy(), np.zeros(len(boxes), int)
        views = [sums(picture, max(1, min(frame.shape[:2]) // 1024), exposure_gain(picture))]
        tries = []
        refine, decide = Stage(run_rnet, self.rnet, 24), Stage(run_onet, self.onet, 48)
        for scale in FOREIGN_BOX_SCALES:
            box = to_square(boxes, scale)
            for stage in (refine, decide):
                box = to_square(apply_deltas(box, run_patches(stage, views, box, owners, nothing)[1]))
            scores, _, places = run_patches(decide, views, box, owners, nothing)
            tries.append((scores, in_pixels(np.floor(box), places)))
        all_scores = np.stack([scores for scores, _ in tries])
        best = all_scores.argmax(0), np.arange(len(boxes))
        points = np.stack([points for _, points in tries])[best]
        return points.astype(np.float32), all_scores[best].astype(np.float32)

    def _proposed(self, views: list[Sums], min_face: int, check: Check) -> tuple[np.ndarray, np.ndarray]:
        """P-net over the pyramid: square boxes (N, 4) and the index of each box's frame (N,)."""
        per_view: list[list[np.ndarray]] = [[np.empty((0, 9))] for _ in views]
        for scale, height, width in levels(views[0].height, views[0].width, min_face):
            for owner, cells in enumerate(self._cells(views, scale, height, width, check)):
                per_view[owner].append(cells[nms(cells[:, :4], cells[:, 4], 0.5)])
        boxes = []
        for parts in per_view:
            cells = np.concatenate(parts)
            cells = cells[nms(cells[:, :4], cells[:, 4], 0.7)]
            boxes.append(to_square(apply_cell_deltas(cells[:, :4], cells[:, 5:])))
        return np.concatenate(boxes), np.repeat(np.arange(len(views)), [len(part) for part in boxes])

    def _cells(self, views: list[Sums], scale: float, height: int, width: int, check: Check) -> list[np.ndarray]:
        """P-net's candidates on one pyramid level: for each frame (N, 9) cell, score, moves.

        The level is cut into bands of rows that overlap by the window less the step, so that memory stays
        bounded and the result is that of the whole level.
        """
        band = max(1, P_PIXELS_AT_ONCE // width // STRIDE) * STRIDE
        together = max(1, P_PIXELS_AT_ONCE // (height * width))
        per_view: list[list[np.ndarray]] = [[np.empty((0, 9))] for _ in views]
        for first in range(0, len(views), together):
            for top in range(0, height - CELL + 1 + height % 2, band):
                check()
                rows = slice(top, top + band + CELL - STRIDE)
                pieces = np.stack([level(view, height, width, rows) for view in views[first : first + together]])
                scores, moves = run_pnet(self.pnet, network_input(pieces))
                owner, y, x = np.nonzero(scores > P_THRESHOLD)
                cells = cell_boxes(x * STRIDE, y * STRIDE + top, scale)
                cells = np.concatenate([cells, scores[owner, y, x, None], moves[owner, y, x]], 1)
                for i in range(len(pieces)):
                    per_view[first + i].append(cells[owner == i])
                    if sum(map(len, per_view[first + i])) > MOST_CELLS:
                        per_view[first + i] = [best_cells(np.concatenate(per_view[first + i]))]
        return [np.concatenate(parts) for parts in per_view]

    def _refined(
        self, views: list[Sums], boxes: np.ndarray, owners: np.ndarray, check: Check
    ) -> tuple[np.ndarray, np.ndarray]:
        """R-net: the proposals that look like faces, refined and squared, with their frames."""
        scores, moves = run_patches(Stage(run_rnet, self.rnet, 24), views, boxes, owners, check)
        sure = np.flatnonzero(scores > R_THRESHOLD)
        # Compared before they are refined: MTCNN's authors do so, and which of many equals wins depends on it.
        chosen = sure[kept_by_frame(boxes[sure], scores[sure], owners[sure], len(views))]
        return to_square(apply_deltas(boxes[chosen], moves[chosen])), owners[chosen]

    def _decided(
        self,
        views: list[Sums],
        boxes: np.ndarray,
        owners: np.ndarray,
        score: float,
        first: int,
        check: Check,
    ) -> list[list[Face]]:
        """O-net: the faces of each frame, sorted."""
        scores, moves, places = run_patches(Stage(run_onet, self.onet, 48), views, boxes, owners, check)
        sure = scores >= score
        points = in_pixels(np.floor(boxes), places)[sure].astype(np.float32)
        boxes, owners, scores = apply_deltas(np.floor(boxes), moves)[sure], owners[sure], scores[sure]
        height, width = views[0].frame.shape[:2]
        per_view: list[list[Face]] = [[] for _ in views]
        for i in kept_by_frame(boxes, scores, owners, len(views), of_smaller=True):
            box = boxes[i].clip(0, [width, height, width, height]).astype(np.float32)
            per_view[owners[i]].append(Face(first + int(owners[i]), box, points[i], float(scores[i])))
        return [sorted(faces, key=rank) for faces in per_view]


def smallest_face(shape: Sequence[int], min_face: int | None) -> int:
    """px of the smallest face looked for in frames (height, width): a 36th of the short edge, at least 24, unless it is
    given.
    """
    return max(24, min(shape) // 36) if min_face is None else min_face


def nothing() -> None:
    """The check of a caller that never interrupts."""


def kept_by_frame(
    boxes: np.ndarray, scores: np.ndarray, owners: np.ndarray, frames: int, of_smaller: bool = False
) -> np.ndarray:
    """Non-maximum suppression within each frame: indices of the boxes kept."""
    groups = [np.flatnonzero(owners == frame) for frame in range(frames)]
    return np.concatenate([group[nms(boxes[group], scores[group], 0.7, of_smaller)] for group in groups])


def in_pixels(boxes: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Points (N, 5, 2) in fractions of square boxes (N, 4), as pixels whose centres are whole numbers."""
    result: np.ndarray = boxes[:, None, :2] + places * (boxes[:, None, 2:] - boxes[:, None, :2]) - 0.5
    return result


@dataclass(frozen=True, eq=False)
class Stage:
    """R-net or O-net. size: px of the patches that it looks at."""

    run: Callable[..., tuple[np.ndarray, ...]]
    weights: list[torch.Tensor]
    size: int


def run_patches(
    stage: Stage, views: list[Sums], boxes: np.ndarray, owners: np.ndarray, check: Check
) -> tuple[np.ndarray, ...]:
    """What a stage returns for the boxes (N, 4), each in its frame `owners` (N,); the frames in order."""
    outputs = []
    together = PATCHES_AT_ONCE[stage.size]
    for first in range(0, max(1, len(boxes)), together):
        check()
        some, of = np.floor(boxes[first : first + together]).astype(int), owners[first : first + together]
        parts = [patches(view, some[of == index], stage.size) for index, view in enumerate(views)]
        outputs.append(stage.run(stage.weights, network_input(np.concatenate(parts))))
    return tuple(np.concatenate(parts) for parts in zip(*outputs, strict=True))


def levels(height: int, width: int, min_face: int) -> list[tuple[float, int, int]]:
    """Scale, height and width of each pyramid level, from the one where the smallest face fills P-net's window."""
    scale, result = CELL / min_face, []
    while min(height, width) * scale >= CELL:
        result.append((scale, int(height * scale + 1), int(width * scale + 1)))
        scale *= PYRAMID_STEP
    return result


def cell_boxes(x: np.ndarray, y: np.ndarray, scale: float) -> np.ndarray:
    """Where P-net's windows, whose first pixels in the level are x, y (N,), lie in the frame: (N, 4).

    As MTCNN's authors have it: the first and the last pixel, counted from 1 and rounded down in the frame.
    """
    corner = np.stack([x, y], 1)
    return np.concatenate([np.floor((corner + 1) / scale), np.floor((corner + CELL) / scale)], 1)


def best_cells(cells: np.ndarray, most: int = MOST_CELLS) -> np.ndarray:
    """The cells (N, 9) of the highest scores, `most` at most, in the order given."""
    if len(cells) <= most:
        return cells
    return cells[np.sort(np.argpartition(-cells[:, 4], most)[:most])]


def apply_cell_deltas(cells: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """P-net's cells with their moves, as boxes (N, 4) in pixel edges."""
    return apply_deltas(cells, moves) - [1, 1, 0, 0]


def network_input(images: np.ndarray) -> torch.Tensor:
    """Images (N, H, W, 3) float32 0..255 as (N, 3, H, W), channels last, in the range the networks know."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).sub_(127.5).mul_(1 / 128)


def check_frames(frames: torch.Tensor) -> None:
    """Raises ImageError unless frames are (B, H, W, 3 or 4) float32 on the CPU."""
    if frames.ndim != 4 or frames.shape[3] not in (3, 4) or min(frames.shape[1:3]) < 1:
        raise ImageError(f"Images must be (batch, height, width, 3 or 4), not {tuple(frames.shape)}.")
    if frames.dtype != torch.float32 or frames.device.type != "cpu":
        raise ImageError(f"Images must be float32 on the CPU, not {frames.dtype} on {frames.device}.")


def check_settings(score: float, min_face: int | None, max_faces: int) -> None:
    """Raises SettingError for a value outside its range."""
    if not 0 <= score <= 1:
        raise SettingError(f"The detection score must be between 0 and 1, not {score}.")
    if min_face is not None and min_face < CELL:
        raise SettingError(f"The smallest face must be at least {CELL} pixels, not {min_face}.")
    if max_faces < 0:
        raise SettingError(f"The number of faces must be 0 (all) or more, not {max_faces}.")

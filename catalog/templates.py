"""Where five facial points sit in the square crop that a face network expects.

Points are (x, y) as fractions of the crop's side, in the order left eye, right eye, nose, left mouth corner,
right mouth corner, with left and right as seen in the picture. Multiply by the crop size to get pixels.
"""

FivePoints = tuple[tuple[float, float], ...]

WARP_TEMPLATES: dict[str, FivePoints] = {
    # FFHQ's crop: face restorers (GFPGAN, CodeFormer, RestoreFormer, GPEN).
    "ffhq_512": (
        (0.37691676, 0.46864664),
        (0.62285697, 0.46912813),
        (0.50123859, 0.61331904),
        (0.39308822, 0.72541100),
        (0.61150205, 0.72490465),
    ),
    # InsightFace's crop for sizes divisible by 112: recognition networks.
    "arcface_112_v2": (
        (0.34191607, 0.46157411),
        (0.65653393, 0.45983393),
        (0.50022500, 0.64050536),
        (0.37097589, 0.82469196),
        (0.63151696, 0.82325089),
    ),
    # The same points in pixels of 112, shifted 8 px to the right, in a crop of 128: swappers.
    "arcface_128": (
        (0.36167656, 0.40387734),
        (0.63696719, 0.40235469),
        (0.50019687, 0.56044219),
        (0.38710391, 0.72160547),
        (0.61507734, 0.72034453),
    ),
}

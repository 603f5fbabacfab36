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
    # A looser crop of older recognition networks: SimSwap, Ghost.
    "arcface_112_v1": (
        (0.35473214, 0.45658929),
        (0.64526786, 0.45658929),
        (0.50000000, 0.61154464),
        (0.37913393, 0.77687500),
        (0.62086607, 0.77687500),
    ),
    # InsightFace's crop for sizes divisible by 112: recognition networks.
    "arcface_112_v2": (
        (0.34191607, 0.46157411),
        (0.65653393, 0.45983393),
        (0.50022500, 0.64050536),
        (0.37097589, 0.82469196),
        (0.63151696, 0.82325089),
    ),
    # MTCNN's crop: HifiFace.
    "mtcnn_512": (
        (0.36562865, 0.46733799),
        (0.63305391, 0.46585885),
        (0.50019127, 0.61942959),
        (0.39032951, 0.77598822),
        (0.61178945, 0.77476328),
    ),
    # The points of arcface_112_v2 in pixels of 112, shifted 8 px to the right, in a crop of 128: swappers.
    "arcface_128": (
        (0.36167656, 0.40387734),
        (0.63696719, 0.40235469),
        (0.50019687, 0.56044219),
        (0.38710391, 0.72160547),
        (0.61507734, 0.72034453),
    ),
    # DeepFaceLab's whole face.
    "dfl_whole_face": (
        (0.35342266, 0.39285716),
        (0.62797622, 0.39285716),
        (0.48660713, 0.54017860),
        (0.38839287, 0.68750011),
        (0.59821427, 0.68750011),
    ),
    # StyleGANEX: much of what is around the face.
    "styleganex_384": (
        (0.42353745, 0.52289879),
        (0.57725008, 0.52319972),
        (0.50123859, 0.61331904),
        (0.43364461, 0.68337652),
        (0.57015325, 0.68306005),
    ),
    # What GPEN's own demo crops, looser than FFHQ.
    "gpen": (
        (0.394611, 0.474383),
        (0.604356, 0.473223),
        (0.500150, 0.593670),
        (0.413984, 0.716461),
        (0.587678, 0.715501),
    ),
}

"""The public model files that are known by their content: hash, size, what they are, on which terms.

Hashes and sizes come from the manifests of the programs that ship the files; where several independent manifests
exist they agree. Nothing here is ever fetched: `source` is text for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from .families import FAMILIES, Family

# Where users have such files already, under a folder of models.
MODEL_SUBFOLDERS = (
    "slimfusion",
    "insightface",
    "reswapper",
    "hyperswap",
    "facerestore_models",
    "facedetection",
    "face_restore",
    "faceless",
    "detection",
    "ultralytics/bbox",
    "upscale_models",
)

# Where a file belongs under a folder of models: by family, else by kind, else in the first of the above.
_HOMES = {
    "inswapper": "insightface",
    "hyperswap": "hyperswap",
    "reswapper_256": "reswapper",
    "restorer": "facerestore_models",
    "image network": "upscale_models",
}

# Licences, and whether they let a business use the file; None where that is not stated or sources disagree.
Terms = tuple[str, bool | None]
APACHE: Terms = ("Apache-2.0", True)
GFPGAN_TERMS: Terms = ("Apache-2.0 (parts from StyleGAN2, see its LICENSE)", True)
GPL: Terms = ("GPL-3.0", True)
GPL_OR_AGPL: Terms = ("GPL-3.0 or AGPL-3.0 (sources differ)", None)
INSIGHTFACE_TERMS: Terms = ("InsightFace, non-commercial", False)
MIT: Terms = ("MIT", True)
MIT_OR_BSD: Terms = ("MIT or BSD-3-Clause (sources differ)", True)
NON_COMMERCIAL: Terms = ("non-commercial", False)
OPENRAIL: Terms = ("OpenRAIL-MS", None)
RESEARCH_RAIL: Terms = ("FaceFusion ResearchRAIL", False)
S_LAB: Terms = ("S-Lab 1.0, non-commercial", False)
UNSTATED: Terms = ("not stated", None)

CODEFORMER_HOME = "https://github.com/sczhou/CodeFormer/releases"
COUNTFLOYD = "https://huggingface.co/CountFloyd"
FACEFUSION = "https://github.com/facefusion/facefusion-assets/releases"
FACEFUSION_30, FACEFUSION_31, FACEFUSION_32, FACEFUSION_33, FACEFUSION_34 = (
    f"{FACEFUSION}/tag/models-{release}" for release in ("3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0")
)
GFPGAN_HOME = "https://github.com/TencentARC/GFPGAN/releases"
INSIGHTFACE = "https://github.com/deepinsight/insightface/releases"
MIKESTEALTH = "https://huggingface.co/mikestealth"
OPENCV_ZOO = "https://github.com/opencv/opencv_zoo/tree/main/models/face_detection_yunet"
REACTOR = "https://huggingface.co/datasets/Gourieff/ReActor"
RESTOREFORMER_HOME = "https://github.com/wzhouxiff/RestoreFormerPlusPlus/releases"
VISOMASTER = "https://github.com/visomaster/visomaster-assets/releases"


@dataclass(frozen=True)
class KnownFile:
    """One file of the world.

    name: what it is mostly called, for people. sha256: "" where only the size is known. size: bytes, None where
    only the hash is known. commercial: whether the licence lets a business use it; None where that is not stated
    or sources disagree.
    """

    name: str
    family: str
    licence: str
    commercial: bool | None
    source: str
    size: int | None
    sha256: str

    @property
    def contract(self) -> Family:
        """What it wants and gives."""
        return FAMILIES[self.family]

    @property
    def folder(self) -> str:
        """Where it belongs under a folder of models."""
        if self.source == INSIGHTFACE:
            return "insightface/models/buffalo_l"
        return _HOMES.get(self.family) or _HOMES.get(self.contract.kind) or MODEL_SUBFOLDERS[0]

    @property
    def suffix(self) -> str:
        return PurePath(self.name).suffix


# name, family, terms, source, bytes, sha256
_ROWS: tuple[tuple[str, str, Terms, str, int | None, str], ...] = (
    (
        "face_detection_yunet_2023mar.onnx",
        "yunet",
        MIT,
        OPENCV_ZOO,
        None,
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    ),
    (
        "yunet_n_640_640.onnx",
        "yunet",
        MIT,
        VISOMASTER,
        None,
        "9e65c0213faef0173a3d2e05156b4bf44a45cde598bdabb69203da4a6b7ad61e",
    ),
    (
        "det_10g.onnx",
        "scrfd",
        INSIGHTFACE_TERMS,
        INSIGHTFACE,
        16923827,
        "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
    ),
    (
        "retinaface_10g.onnx",
        "scrfd",
        INSIGHTFACE_TERMS,
        FACEFUSION_30,
        16926877,
        "808399c3d0b40ed340634ed590ae564a7caa09e5659916923a95d4470b54ff5a",
    ),
    (
        "scrfd_2.5g.onnx",
        "scrfd",
        INSIGHTFACE_TERMS,
        FACEFUSION_30,
        3295067,
        "2c07342347cef21a619c49dd5664fb8c09570ae9eda5bff3e385c11eafc45ada",
    ),
    (
        "scrfd_2.5g_bnkps.onnx",
        "scrfd",
        INSIGHTFACE_TERMS,
        VISOMASTER,
        None,
        "bc24bb349491481c3ca793cf89306723162c280cb284c5a5e49df3760bf5c2ce",
    ),
    (
        "yoloface_8n.onnx",
        "yoloface",
        GPL_OR_AGPL,
        FACEFUSION_30,
        12659761,
        "821cdbb1e65fbbabdde7dd0933f754797a343e56fd962729c61ffcefcd135929",
    ),
    (
        "yoloface_8n.onnx",
        "yoloface",
        GPL_OR_AGPL,
        VISOMASTER,
        None,
        "84d5bb985b0ea75fc851d7454483897b1494c71c211759b4fec3a22ac196d206",
    ),
    (
        "2dfan4.onnx",
        "2dfan4",
        MIT_OR_BSD,
        FACEFUSION_30,
        97904803,
        "678c6fa539d52335a31c980feefdf4a6e02d781d83dce00af8a894f114557285",
    ),
    (
        "2dfan4.onnx",
        "2dfan4",
        MIT_OR_BSD,
        VISOMASTER,
        None,
        "1ceedb108439c7d7b3f92cfa2b25bdc69a1f5f6c8b41da228cb283ca98d4181d",
    ),
    (
        "2d106det.onnx",
        "2d106det",
        INSIGHTFACE_TERMS,
        INSIGHTFACE,
        5030888,
        "f001b856447c413801ef5c42091ed0cd516fcd21f2d6b79635b1e733a7109dbf",
    ),
    (
        "1k3d68.onnx",
        "1k3d68",
        INSIGHTFACE_TERMS,
        INSIGHTFACE,
        143607619,
        "df5c06b8a0c12e422b2ed8947b8869faa4105387f199c477af038aa01f9a45cc",
    ),
    (
        "genderage.onnx",
        "genderage",
        INSIGHTFACE_TERMS,
        INSIGHTFACE,
        1322532,
        "4fde69b1c810857b88c64a335084f1c3fe8f01246c9a191b48c7bb756d6652fb",
    ),
    (
        "w600k_r50.onnx",
        "arcface",
        INSIGHTFACE_TERMS,
        INSIGHTFACE,
        174383860,
        "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
    ),
    (
        "arcface_w600k_r50.onnx",
        "arcface",
        INSIGHTFACE_TERMS,
        FACEFUSION_30,
        174388474,
        "f1f79dc3b0b79a69f94799af1fffebff09fbd78fd96a275fd8f0cbbea23270d1",
    ),
    (
        "simswap_arcface_model.onnx",
        "simswap_arcface",
        UNSTATED,
        VISOMASTER,
        None,
        "58949c864ab4a89012aaefc117f1ab8548c5f470bbc3889474bca13a412fc843",
    ),
    (
        "ghost_arcface_backbone.onnx",
        "ghost_arcface",
        UNSTATED,
        VISOMASTER,
        None,
        "18bb8057d1cd3ca39411b8a4dde485fa55783e08ceecaf2352f551ca39cd1357",
    ),
    (
        "cscs_arcface_model.onnx",
        "cscs_arcface",
        UNSTATED,
        VISOMASTER,
        None,
        "cd81a1745a736402d100d32c362918aee46d9a3f58c9c5ecbf0e415cf2df9dc0",
    ),
    (
        "cscs_id_adapter.onnx",
        "cscs_arcface",
        UNSTATED,
        VISOMASTER,
        None,
        "288ee88fa208e64846261f9c16f19362db000074b2f4c9000ea49b2311a6d55b",
    ),
    (
        "xseg_1.onnx",
        "xseg",
        GPL,
        FACEFUSION_31,
        70324286,
        "c4d1498b8a03b5fe2a3a5d2ef2a0402ab03bd51edaf5b2d8d5fb764702a97dd3",
    ),
    (
        "xseg_2.onnx",
        "xseg",
        GPL,
        FACEFUSION_31,
        70324286,
        "cd9a0879eaf43841d765472cf1f8c330dbf9dcb03da0eace93e95f3bcc399042",
    ),
    (
        "xseg_3.onnx",
        "xseg",
        GPL,
        FACEFUSION_32,
        70327709,
        "48ccd7e8541e159a5a754ec9e62df2f12065f7df8f9af842c1750342c6533559",
    ),
    (
        "xseg.onnx",
        "xseg",
        UNSTATED,
        COUNTFLOYD,
        70327737,
        "0b57328efcb839d85973164b617ceee9dfe6cfcb2c82e8a033bba9f4f09b27e5",
    ),
    (
        "XSeg_model.onnx",
        "dfl_xseg",
        UNSTATED,
        VISOMASTER,
        None,
        "4381395dcbec1eef469fa71cfb381f00ac8aadc3e5decb4c29c36b6eb1f38ad9",
    ),
    (
        "occluder.onnx",
        "occluder",
        UNSTATED,
        VISOMASTER,
        None,
        "79f5c2edf10b83458693d122dd51488b210fb80c059c5d56347a047710d44a78",
    ),
    (
        "bisenet_resnet_34.onnx",
        "bisenet",
        MIT,
        FACEFUSION_30,
        93632546,
        "4a0b8c958a3c938913bd06a8365dbb3c8761afba6ecbf0d14b3b1f77eb230c96",
    ),
    (
        "bisenet_resnet_18.onnx",
        "bisenet",
        MIT,
        FACEFUSION_31,
        None,
        "2218b6183c26ca5c83303232d682a536c670c13ea9695f716c777d1f244eefe9",
    ),
    (
        "faceparser_resnet34.onnx",
        "bisenet",
        MIT,
        VISOMASTER,
        None,
        "5b805bba7b5660ab7070b5a381dcf75e5b3e04199f1e9387232a77a00095102e",
    ),
    (
        "GFPGANv1.4.pth",
        "gfpgan",
        GFPGAN_TERMS,
        GFPGAN_HOME,
        348632874,
        "e2cd4703ab14f4d01fd1383a8a8b266f9a5833dacee8e6a79d3bf21a1b6be5ad",
    ),
    (
        "GFPGANv1.3.pth",
        "gfpgan",
        GFPGAN_TERMS,
        GFPGAN_HOME,
        348632874,
        "c953a88f2727c85c3d9ae72e2bd4846bbaf59fe6972ad94130e23e7017524a70",
    ),
    (
        "gfpgan_1.4.onnx",
        "gfpgan",
        GFPGAN_TERMS,
        FACEFUSION_30,
        340299087,
        "accc4757b26bdb89b32b4d3500d4f79c9dff97c1dd7c7104bf9dcb95e3311385",
    ),
    (
        "GFPGANv1.4.onnx",
        "gfpgan",
        GFPGAN_TERMS,
        VISOMASTER,
        None,
        "6548e54cbcf248af385248f0c1193b359c37a0f98b836282b09cf48af4fd2b73",
    ),
    (
        "gfpgan-1024.onnx",
        "gfpgan_1024",
        UNSTATED,
        VISOMASTER,
        365875079,
        "ee8dd6415e388b3a410689d5d9395a2bf50b5973b588421ebfa57bc266f19e24",
    ),
    (
        "codeformer.pth",
        "codeformer",
        S_LAB,
        CODEFORMER_HOME,
        376637898,
        "1009e537e0c2a07d4cabce6355f53cb66767cd4b4297ec7a4a64ca4b8a5684b7",
    ),
    (
        "codeformer.onnx",
        "codeformer",
        S_LAB,
        FACEFUSION_30,
        376951650,
        "21710e7ab61c82683576c428e9c1b6fe1ed419586b7b39e394c3449c294b550f",
    ),
    (
        "codeformer_fp16.onnx",
        "codeformer",
        S_LAB,
        VISOMASTER,
        None,
        "9c3ae2ce2de616815815628f966cdef5d9466722434a1be00c0785ec92e2a94f",
    ),
    (
        "RestoreFormer++.ckpt",
        "restoreformer",
        APACHE,
        RESTOREFORMER_HOME,
        None,
        "613fe52805f86bf8c2bffff08ae9f7a0b99f408be1bf221767af6183038be3a2",
    ),
    (
        "restoreformer_plus_plus.onnx",
        "restoreformer",
        APACHE,
        FACEFUSION_30,
        294264812,
        "f4db5a89902b6a2d452446f5721245a6f7185f699b6aec7b77285adb4d504337",
    ),
    (
        "RestoreFormerPlusPlus.fp16.onnx",
        "restoreformer",
        APACHE,
        VISOMASTER,
        None,
        "e5df99ed4f501be2009ed8e708f407dd26ac400c55a43a01d8c8c157bc475b3f",
    ),
    (
        "VQFRv2.fp16.onnx",
        "vqfr",
        UNSTATED,
        VISOMASTER,
        None,
        "30c3d854c8e5c8abaf9c83c00d2466b7c3f64865d7b3b8596f56714a717ffd6f",
    ),
    (
        "GPEN-BFR-256.onnx",
        "gpen_256",
        NON_COMMERCIAL,
        VISOMASTER,
        75715262,
        "aa5bd3ab238640a378c59e4a560f7a7150627944cf2129e6311ae4720e833271",
    ),
    (
        "gpen_bfr_256.onnx",
        "gpen_256",
        NON_COMMERCIAL,
        FACEFUSION_30,
        75792988,
        "bad8bf0426873828df2dbf4e3b3d9ababba9da7965b8b72426569486f7ae5c25",
    ),
    (
        "GPEN-BFR-512.onnx",
        "gpen_512",
        NON_COMMERCIAL,
        REACTOR,
        284244491,
        "bf80acb8e91ba8852e3f012505be2c3b6cd6b3eed5ec605e3db87863c4e74d4e",
    ),
    (
        "GPEN-BFR-512.onnx",
        "gpen_512",
        NON_COMMERCIAL,
        VISOMASTER,
        284250449,
        "0960f836488735444d508b588e44fb5dfd19c68fde9163ad7878aa24d1d5115e",
    ),
    (
        "gpen_bfr_512.onnx",
        "gpen_512",
        NON_COMMERCIAL,
        FACEFUSION_30,
        284340240,
        "d5f066b9068a8b74217f9712e28e875a6144629b108a6f7355acbdb3a2832c54",
    ),
    (
        "GPEN-BFR-1024.onnx",
        "gpen_1024",
        NON_COMMERCIAL,
        REACTOR,
        None,
        "cec8892093d7b99828acde97bf231fb0964d3fb11b43f3b0951e36ef1e192a3e",
    ),
    (
        "gpen_bfr_1024.onnx",
        "gpen_1024",
        NON_COMMERCIAL,
        FACEFUSION_30,
        285203703,
        "bcd31aa52110a2005efc96abbab4546d57e42482648f08715b552423d96b381b",
    ),
    (
        "GPEN-BFR-2048.onnx",
        "gpen_2048",
        NON_COMMERCIAL,
        REACTOR,
        None,
        "d0229ff43f979c360bd19daa9cd0ce893722d59f41a41822b9223ebbe4f89b3e",
    ),
    (
        "gpen_bfr_2048.onnx",
        "gpen_2048",
        NON_COMMERCIAL,
        FACEFUSION_30,
        285582766,
        "66d12a637118d71b00f5a290b8dac13c81c1c0326a127a1978799c6e17bb8d1f",
    ),
    (
        "inswapper_128.onnx",
        "inswapper",
        INSIGHTFACE_TERMS,
        REACTOR,
        554253681,
        "e4a3f08c753cb72d04e10aa0f7dbe3deebbf39567d4ead6dce08e98aa49e16af",
    ),
    (
        "inswapper_128.onnx",
        "inswapper",
        INSIGHTFACE_TERMS,
        MIKESTEALTH,
        None,
        "0fa95f167682b4f61edf24f8d66c46b4ab130e8be058f00c8150e6d0170ca72f",
    ),
    (
        "inswapper_128.onnx",
        "inswapper",
        INSIGHTFACE_TERMS,
        FACEFUSION_30,
        None,
        "a290273ed497312095dac48cdef20feec9d5208298223dd01288ab202b54bea7",
    ),
    (
        "inswapper_128_fp16.onnx",
        "inswapper",
        INSIGHTFACE_TERMS,
        FACEFUSION_30,
        277680829,
        "c4eccca86ad177586c85c28bf1a64a9d9ed237e283a15818d831f7facfd3f420",
    ),
    (
        "inswapper_128.fp16.onnx",
        "inswapper",
        INSIGHTFACE_TERMS,
        VISOMASTER,
        277680638,
        "6d51a9278a1f650cffefc18ba53f38bf2769bf4bbff89267822cf72945f8a38b",
    ),
    (
        "hyperswap_1a_256.onnx",
        "hyperswap",
        RESEARCH_RAIL,
        FACEFUSION_33,
        402742682,
        "c0e98a8a03a238f461ed3d2570e426b49f46745ee400854a60dceeb70c246add",
    ),
    (
        "hyperswap_1b_256.onnx",
        "hyperswap",
        RESEARCH_RAIL,
        FACEFUSION_33,
        402742682,
        "5124031789c42f71b9558fb71954ef7aedb6da7ed9fac79293e23c61a792a73e",
    ),
    (
        "hyperswap_1c_256.onnx",
        "hyperswap",
        RESEARCH_RAIL,
        FACEFUSION_33,
        402742682,
        "5528c2d76fe9986c99d829278987ef9f3a630cb606db7628d02b57b330f406a5",
    ),
    (
        "hififace_unofficial_256.onnx",
        "hififace",
        UNSTATED,
        FACEFUSION_31,
        203784742,
        "9de9751617976195114d7f067b9b6cf933748363355cf473cab2da57a739c2ef",
    ),
    ("simswap_256.onnx", "simswap_256", NON_COMMERCIAL, FACEFUSION_30, 220368724, ""),
    (
        "simswap_unofficial_512.onnx",
        "simswap_512",
        NON_COMMERCIAL,
        FACEFUSION_30,
        239249034,
        "fe805d1ce7d9e66322e2a8811f593a821e7d92f9ff861dd233794bdb2bb7a586",
    ),
    (
        "simswap_512_unoff.onnx",
        "simswap_512",
        NON_COMMERCIAL,
        VISOMASTER,
        None,
        "08c6ca9c0a65eff119bea42686a4574337141de304b9d26e2f9d11e78d9e8e86",
    ),
    (
        "uniface_256.onnx",
        "uniface",
        UNSTATED,
        FACEFUSION_30,
        406964143,
        "eb5ce2af024cddf88ecb93b24e29a6eb44e354aba7d3319e84d29dcd868820f3",
    ),
    ("blendswap_256.onnx", "blendswap", NON_COMMERCIAL, FACEFUSION_30, 1661432957, ""),
    (
        "alphaface_256.onnx",
        "alphaface",
        NON_COMMERCIAL,
        FACEFUSION,
        555624110,
        "efcca3ffa1c28b75a007f689b39f7d4716c02810e7fa72d892e175f0b058a2e2",
    ),
    ("ghost_1_256.onnx", "ghost", APACHE, FACEFUSION_30, 514902950, ""),
    (
        "ghost_unet_1_block.onnx",
        "ghost",
        APACHE,
        VISOMASTER,
        None,
        "304a86bccb325e7fcf5ab4f4f84ba5172e319bccc9de15d299bb436746e2e024",
    ),
    (
        "ghost_unet_2_block.onnx",
        "ghost",
        APACHE,
        VISOMASTER,
        None,
        "25b72c107aabe27fc65ac5bf5377e58eda0929872d4dd3de5d5a9edefc49fa9f",
    ),
    (
        "ghost_unet_3_block.onnx",
        "ghost",
        APACHE,
        VISOMASTER,
        None,
        "f471d4f322903da2bca360aa0d7ab9922e3b0001d683f825ca6b15d865382935",
    ),
    (
        "InStyleSwapper256_Version_A.fp16.onnx",
        "reswapper_256",
        UNSTATED,
        VISOMASTER,
        None,
        "0e0ef024b935abca69fd367a385200ed46b83a3cc618287ffe89440e2cc646da",
    ),
    (
        "InStyleSwapper256_Version_B.fp16.onnx",
        "reswapper_256",
        UNSTATED,
        VISOMASTER,
        None,
        "0870b6c75eaea239bdd72b6c6d0910cb285310736e356c17a2cd67a961738116",
    ),
    (
        "InStyleSwapper256_Version_C.fp16.onnx",
        "reswapper_256",
        UNSTATED,
        VISOMASTER,
        None,
        "6eaefc04cfb1461222ab72a814ad5b5673ab1af4267f7eb9054e308797567cde",
    ),
    (
        "crossface_hififace.onnx",
        "crossface_hififace",
        OPENRAIL,
        FACEFUSION_34,
        22083800,
        "dfb75f960cb8ef1967a82838e64963b9ff621c4af3e22f9fda48ad958dddec9a",
    ),
    (
        "crossface_simswap.onnx",
        "crossface_simswap",
        OPENRAIL,
        FACEFUSION_34,
        22083800,
        "6452a261ec30cc30afdbe4a426d82c3b10a476f2df794e3494071c02574e6829",
    ),
)

KNOWN: tuple[KnownFile, ...] = tuple(
    KnownFile(name, family, *terms, source, size, sha256) for name, family, terms, source, size, sha256 in _ROWS
)
BY_HASH: dict[str, KnownFile] = {file.sha256: file for file in KNOWN if file.sha256}
SIZES: frozenset[int] = frozenset(file.size for file in KNOWN if file.size is not None)
# Endings of files of which only the hash is known: whatever their length, they may be one of them.
SUFFIXES_OF_ANY_SIZE: frozenset[str] = frozenset(file.suffix for file in KNOWN if file.size is None)

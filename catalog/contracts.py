"""What a network of a known architecture expects and gives: the facts that no weight file states.

Facts from the papers' reference code, collected with their sources in the project's model notes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Domain = Literal["face", "image", "tensors"]


@dataclass(frozen=True)
class Contract:
    """How a network wants its input.

    domain: "face" takes one aligned crop of `size` px; "image" takes any size and can be tiled; "tensors" is
    not picture to picture.
    template: the alignment template of a face network. has_fidelity: it takes a weight from 0 (sharp) to
    1 (faithful). halo: px thrown away around a tile of an image network: its whole receptive field
    where a tile can afford that, else a usual value, with which tiles are close to the whole and not equal.
    face_side: px of the square around a face at which an image network restores best; a smaller square is enlarged to
    it. None: faces are restored as large as they are.
    """

    architecture: str
    domain: Domain
    licence: str
    size: int | None = None
    template: str | None = None
    has_fidelity: bool = False
    halo: int = 32
    face_side: int | None = None


_FACE = "ffhq_512"

CONTRACTS: dict[str, Contract] = {
    contract.architecture: contract
    for contract in (
        Contract("GFPGAN", "face", "Apache-2.0", 512, _FACE),
        Contract("RestoreFormer", "face", "Apache-2.0", 512, _FACE),
        Contract("CodeFormer", "face", "S-Lab 1.0 (non-commercial)", 512, _FACE, has_fidelity=True),
        # Of the 91 px that it sees the last hardly count: at most 0.5 / 255 was measured with a crossfade on 16 damaged
        # photographs, against 4.5 with 48 px, and a third of the range without a crossfade where pictures meet.
        # Noisy JPEG squares of 100 to 480 px gain 1.2 to 2.2 dB at 512 px and 0.1 to 0.6 dB at their own size (fidelity
        # 0.5 and 1); 384 and 640 px are within 0.4 dB of that.
        Contract("SlimUnet", "image", "Apache-2.0", has_fidelity=True, halo=64, face_side=512),
        # Measured on damaged portraits: no difference above 1/255 is left (bench/tiles.py).
        Contract("ESRGAN", "image", "see the file's source", halo=64),
        Contract("Compact", "image", "see the file's source", halo=34),  # all of it, with the usual 32 layers
    )
}


def contract_for(architecture: str) -> Contract:
    """The contract of an architecture; what is not in the table is an image network of unknown licence."""
    return CONTRACTS.get(architecture, Contract(architecture, "image", "see the file's source"))

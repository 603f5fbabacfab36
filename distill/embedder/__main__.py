"""`python -m slimfusion.distill.embedder --data FOLDER --out FILE`: makes the bundled recogniser anew.

FOLDER holds portraits/, one_person/ and photos/; weights/slim_embedder.md says where they come from.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from ...errors import SlimFusionError
from .make import Recipe, make


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m slimfusion.distill.embedder", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--lessons", type=int, default=Recipe.lessons, help="damaged faces for the last layer")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    try:
        recipe = Recipe(chosen.lessons, chosen.seed)
        make(chosen.data, chosen.out, recipe, lambda sentence: print(sentence, flush=True))
    except SlimFusionError as error:
        print(f"slimfusion: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

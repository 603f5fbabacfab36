"""Detection, alignment, masks, swapping and fusing, beside other ways to do them."""

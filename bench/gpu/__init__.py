"""Everything that wants a graphics card, in one command; the parts of `gpu` are files of their own."""

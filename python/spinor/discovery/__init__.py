"""How a model may be rotated, found out from its own code and proved: what `spinor discover` does."""

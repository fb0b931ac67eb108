"""Kinds of handlers, one file each. `workers/kinds.py` lists them."""

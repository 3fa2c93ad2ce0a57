"""Parts of `novelty.py`."""

"""Parts of `attacks.py`."""

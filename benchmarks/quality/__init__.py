"""Parts of `relay_quality.py`."""

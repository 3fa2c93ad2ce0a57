"""Does what is paid agree with what a participant was worth? Parts of `agreement.py`."""

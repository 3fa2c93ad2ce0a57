"""What a leg is compared with: each a program of its own. See `throughput.py`."""

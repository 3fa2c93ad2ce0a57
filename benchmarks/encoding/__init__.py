"""What `benchmarks/codecs.py` measures and draws."""

"""What `valuation.py` measures: games whose values are known, how near estimators come, and how fast."""

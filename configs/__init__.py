"""Experiments, one a file. `relayjax run --config=configs/NAME.py[:variant]`."""

"""The incentive audit: who gains by which deviation, under the very rules that a live relay runs."""

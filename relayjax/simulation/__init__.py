"""Populations of simulated participants that play a mechanism's rules, without training a model."""

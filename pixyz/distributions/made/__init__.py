"""Distributions made of functions, of other distributions: mixtures, experts, flows, the data."""

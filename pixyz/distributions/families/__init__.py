"""Densities with parameters: how a network gives them, the families by kind."""

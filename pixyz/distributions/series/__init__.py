"""Distributions over series: a recurrence, how it reads data, and the Scan."""

"""Agents that learn from a world model: Dreamer, its replay, its training loop and the command line.

    types       the protocol Agent; Batch and Learned
    dreamer/    DreamerV3
    replay/     the experience store
    train       one process: environments, replay, updates
    cli         the ``pixyz`` command
"""

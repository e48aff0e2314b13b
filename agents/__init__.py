"""Agents that learn from simulated or real robots.

    agent       the contract: Actor, Agent, Window, Learned;  check: a checker for agents of your own
    build       the table of agents
    latent      acting in a world model's latent state: what the Dreamers share
    dreamer/    DreamerV3
    replay/     the experience store
    run/        the loops, made of parts: driver, learner, schedule, run; from settings: Trainer
    pretrain/   the same loop over windows of a log
    load        a trained agent that acts on observations as the environment gives them
    cli         the ``pixyz`` command
"""

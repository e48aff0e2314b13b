"""What a run's folder is called where nobody says: after what the command says it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from agents.settings import RunSettings

NOT_IN_NAMES = re.compile(r"[^\w.-]+")


def run_name(config: str, overrides: Sequence[str], settings: RunSettings) -> str:
    """``CONFIG-AGENT-ENV-seedS``; agent and environment only where overrides name them.

    Args:
        config: a name that ships (``tdmpc/small`` is ``tdmpc-small``), or a YAML file, whose own
            name is taken without its folders.
        overrides: of the command. ``agent.kind`` and ``env.id`` are called by what follows the
            last ``/`` or ``:``, so ``env.id=my_env:Target`` is ``Target``.
        settings: what became of both.

    >>> from agents.config import load_config
    >>> changes = ["env.id=my_env:Target", "seed=3"]
    >>> run_name("tdmpc/small", changes, load_config(RunSettings, "tdmpc/small", changes))
    'tdmpc-small-Target-seed3'
    """
    path = Path(config)
    name = path.stem if path.suffix in (".yaml", ".yml") else path.as_posix().replace("/", "-")
    told = {override.partition("=")[0].strip() for override in overrides}
    parts = [
        re.split("[/:]", value)[-1]
        for key, value in (("agent.kind", settings.agent.kind), ("env.id", settings.env.id))
        if key in told
    ]
    return NOT_IN_NAMES.sub("_", "-".join([name, *parts, f"seed{settings.seed}"]))

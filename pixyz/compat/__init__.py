"""Scripts for pixyz 0.3.3: this wing keeps them running, and can be deleted without opening
another file.

``modules`` knows the module paths that are laid out otherwise here, ``overriding`` the classes that
override ``sample``, ``get_log_prob`` or ``get_params``, ``families`` those that name a class of
torch.distributions, ``kept`` what ``set_dist`` keeps, ``utils`` the functions of ``pixyz.utils``.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from pixyz import wings
from pixyz.compat.modules import MOVED, serve

OF_DISTRIBUTIONS = ("overriding", "families", "kept")
"""What acts on distributions, and is imported when these are there."""


def _join(distributions: ModuleType) -> None:
    for name in OF_DISTRIBUTIONS:
        importlib.import_module(f"{__name__}.{name}")


wings.when_complete("pixyz.distributions", _join)
for package in dict.fromkeys(name.rpartition(".")[0] for name in MOVED):
    wings.when_complete(package, serve)

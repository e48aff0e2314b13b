"""PlanCache: the plans of an objective or a distribution, one for each structure, and how they are
run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

from torch import nn

from pixyz.plan.options import Options
from pixyz.plan.run.call import MOST_KEYS, Build, Call, Kept
from pixyz.plan.run.facts import Unsettled
from pixyz.plan.run.plan import Plan
from pixyz.plan.run.runner import Runner
from pixyz.plan.run.settle import settle
from pixyz.plan.structure import Clock, newest_change, parts
from pixyz.types import Values

__all__ = ["MOST_KEYS", "PlanCache"]


class PlanCache:
    """Plans by structure: what was asked for, and which optional inputs are there. Values never
    enter the key.

    >>> from pixyz.losses import Parameter
    >>> loss = 2 * Parameter("a")
    >>> loss.eval({"a": 1.0}), loss.eval({"a": 3.0}), len(loss._plans)
    (tensor(2.), tensor(6.), 1)
    """

    def __init__(self, options: Options | None = None) -> None:
        self._kept = Kept(options or Options())
        self.seen = Clock.now
        """The newest change of any structure that was looked at."""
        self._lock = threading.RLock()

    @property
    def options(self) -> Options:
        """How plans are made."""
        return self._kept.options

    @property
    def quick(self) -> dict[Hashable, Runner]:
        """Of each key a plan that is settled; it serves some values (:meth:`Runner.serves`)."""
        return self._kept.quick

    def refresh(self, owner: nn.Module) -> bool:
        """Drop the plans if ``owner`` or a part of it was changed since they were built; whether
        none is there of before.
        """
        kept, now = self._kept, Clock.now
        read = [one for ref in kept.read if (one := ref()) is not None]
        changed = not kept.plans or newest_change([*parts(owner), *read]) > self.seen
        if changed:
            self._kept = Kept(kept.options)
        self.seen = now
        return changed

    def get(self, key: Hashable, given: Values, build: Build, owner: Callable[[], str]) -> Plan:
        """The plan for ``key`` as far as it is known, for optional inputs like ``given``."""
        call = Call(self._kept, self._lock, key, given, build, owner)
        return call.form(call.facts()).runner.plan

    def run(
        self,
        key: Hashable,
        values: Values,
        build: Build,
        owner: Callable[[], str],
    ) -> dict[str, Any]:
        """Run the plan for ``key``: results by name."""
        call = Call(self._kept, self._lock, key, values, build, owner)
        form = call.settled()
        if form is not None:
            try:
                return form.run()
            except Unsettled:
                pass
        form, found = settle(call)
        return form.named(found)

    def set_options(self, **changes: Any) -> None:
        """Change how plans are made; those that are there are dropped (see
        :class:`pixyz.plan.options.Options`).
        """
        self._kept = Kept(replace(self._kept.options, **changes))

    def __len__(self) -> int:
        return sum(map(len, self._kept.plans.values()))

    def __getstate__(self) -> dict[str, Any]:
        return {"options": self._kept.options}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(state.get("options"))  # type: ignore[misc]

    def __copy__(self) -> PlanCache:
        return PlanCache(self._kept.options)

    def __deepcopy__(self, memo: dict[int, object]) -> PlanCache:
        return self.__copy__()

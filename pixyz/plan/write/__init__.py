"""Where distributions and losses write the steps of a plan."""

from pixyz.plan.write.builder import Builder
from pixyz.plan.write.scope import Mode, Scope

__all__ = ["Builder", "Mode", "Scope"]

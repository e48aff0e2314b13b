"""What a person beside the robot sees: a line with its rate, what safety did, returns, and which
policy acts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agents.display import Live
from agents.online.acting import Reporting

HOLDS = ("stale observation", "stale decision", "schema", "driver", "workspace", "person", "doubt")
CLAMPS = ("range", "step", "rate")


class Panel(Live):
    """The most important first: stops and holds, then the rate, returns, the policy, and rows that
    the learner has not.

    >>> import sys
    >>> panel = Panel("arm", sys.stdout)
    >>> panel.show(["20.0 Hz"])
    arm: 20.0 Hz
    """

    def update(
        self,
        reporting: Reporting,
        steps: int,
        total: int,
        returns: Sequence[float],
        counts: Mapping[str, int],
    ) -> None:
        """Show how it goes, if it is time.

        Args:
            reporting: the driver.
            steps, total: environment steps made, and of the run.
            returns: of episodes that ended.
            counts: interventions of safety by their cause.
        """
        if self.due():
            self.show(parts(reporting, steps, returns, counts), steps / total)


def parts(
    reporting: Reporting, steps: int, returns: Sequence[float], counts: Mapping[str, int]
) -> list[str]:
    """What is shown, the most important first."""
    beat, sending, log = reporting.beat, reporting.sending, reporting.log
    recent = list(returns[-5:])
    held, clamped = (sum(counts.get(k, 0) for k in causes) for causes in (HOLDS, CLAMPS))
    found = [f"{counts['held too long']} stops"] if counts.get("held too long") else []
    found += [f"{beat.rate:.1f} Hz", f"late {1e3 * beat.late(50):.1f}/{1e3 * beat.late(99):.1f} ms"]
    found += [f"return {sum(recent) / len(recent):.1f}" if recent else "return -"]
    found += ["random actions" if reporting.acted < 0 else f"policy {reporting.acted}"]
    silent = reporting.clock() - sending.heard
    found += [f"learner silent for {silent:.0f} s"] if silent > 5.0 else []
    found += [f"{log.unwritten} rows wait for the disk"] if log.unwritten else []
    found += [f"{sending.behind:,} rows to send"] if sending.behind > 1 else []
    found += [f"{steps:,} steps", f"{beat.missed} ticks missed"]
    found += [f"{clamped} clamped", f"{held} held"] if counts else []
    return found

"""Small faults in ``envs/robot``, for ``mutations.py``: what must not happen to a robot."""

from __future__ import annotations

from mutations import Fault

SAFETY = "envs/robot/safety.py"
ENV = "envs/robot/env.py"
WATCHING = "envs/robot/watching.py"
WATCHED = "envs/robot/watched.py"
BOARD = "envs/robot/board.py"


def seen_by(*names: str) -> tuple[str, ...]:
    """Files of tests of robots."""
    return tuple(f"tests/envs/test_robot_{name}.py" for name in names)


ROBOTS = [
    Fault(
        "S1",
        "NaN passes",
        SAFETY,
        "if not math.isfinite(found[i]):",
        "if math.isinf(found[i]):",
        seen_by("safety", "env"),
    ),
    Fault(
        "S2",
        "steps are not clamped",
        SAFETY,
        '("step", last - step, last + step),',
        "",
        seen_by("safety", "env"),
    ),
    Fault(
        "S3",
        "the rate is not clamped",
        SAFETY,
        '("rate", last - rate, last + rate),',
        "",
        seen_by("safety"),
    ),
    Fault(
        "S4",
        "the age of the decision is not looked at",
        SAFETY,
        '(("observation", observed_at), ("decision", decided_at))',
        '(("observation", observed_at),)',
        seen_by("safety"),
    ),
    Fault(
        "S5",
        "a clock that goes back is no fault",
        SAFETY,
        "if not now >= self._now:",
        "if False:",
        seen_by("safety", "env"),
    ),
    Fault(
        "S6",
        "who holds never stops",
        SAFETY,
        "self.limits.stop_ms + 1e-6",
        "math.inf",
        seen_by("safety", "env"),
    ),
    Fault(
        "S7",
        "a good tick does not end the holding",
        SAFETY,
        "        self._held_since = None\n        return Verdict(self._named(target), causes)",
        "        return Verdict(self._named(target), causes)",
        seen_by("safety"),
    ),
    Fault(
        "S8",
        "outside of the workspace it goes on",
        SAFETY,
        "return (name, beyond) if beyond > 0.0 else None",
        "return None",
        seen_by("safety"),
    ),
    Fault(
        "S9",
        "a stop does not latch",
        SAFETY,
        '            self.latched = f"{cause}: {detail}"',
        "            pass",
        seen_by("safety", "env"),
    ),
    Fault(
        "S10",
        "it is not said what was sent",
        ENV,
        "{SENT: sent, RECORD: record}",
        "{RECORD: record}",
        seen_by("env"),
    ),
    Fault(
        "S11",
        "a broken observation is used",
        ENV,
        "if self._fault is None:\n            self._measured,",
        "if True:\n            self._measured,",
        seen_by("env"),
    ),
    Fault(
        "S12",
        "a stop does not reach the robot",
        ENV,
        '        if not self.dry_run:\n            self._quietly("stop")',
        "        pass",
        seen_by("env"),
    ),
    Fault(
        "S13",
        "home is approached at full speed",
        ENV,
        "self.safety.slowly(slow)",
        "self.safety.slowly(1.0)",
        seen_by("env"),
    ),
    Fault(
        "S14",
        "a dry run sends",
        ENV,
        "verdict.command if self.dry_run else",
        "verdict.command if False else",
        seen_by("env"),
    ),
    Fault(
        "S15",
        "the watchdog does not clamp",
        WATCHING,
        "self.driver.send_action(verdict.command)",
        "self.driver.send_action(action)",
        seen_by("watchdog"),
    ),
    Fault(
        "S16",
        "the watchdog only holds",
        WATCHING,
        "if silent >= self.limits.watchdog_ms + self.limits.stop_ms:",
        "if False:",
        seen_by("watchdog"),
    ),
    Fault(
        "S17",
        "the program's end is not noticed",
        WATCHING,
        'dog.stop(f"the program is gone',
        'print(f"the program is gone',
        seen_by("watchdog"),
    ),
    Fault(
        "S18",
        "a lost watchdog's robot goes on",
        WATCHED,
        "        self._rescue(why)\n",
        "",
        seen_by("watchdog"),
    ),
    Fault(
        "S19",
        "a lost watchdog lives on",
        WATCHED,
        "        self._process.kill()\n        self.disconnect()",
        "        self._process = None",
        seen_by("watchdog"),
    ),
    Fault(
        "S20",
        "old commands are obeyed",
        BOARD,
        "packet.serial > self.serial:",
        "True:",
        seen_by("simulated"),
    ),
    Fault(
        "S21",
        "late commands are obeyed",
        BOARD,
        "abs(now - packet.time) <= _FRESH",
        "True",
        seen_by("simulated"),
    ),
    Fault(
        "S22",
        "garbled packets are read",
        "envs/robot/packet.py",
        "if len(message) < _HEAD.size + 4 or zlib.crc32(message[:-4]) != int.from_bytes(\n"
        '        message[-4:], "little"\n    ):',
        "if len(message) < _HEAD.size + 4:",
        seen_by("simulated"),
    ),
    Fault(
        "S23",
        "a limit that is not finite is taken",
        "envs/robot/limits.py",
        "            or not math.isfinite(value)\n",
        "",
        seen_by("limits"),
    ),
    Fault(
        "S24",
        "limits the wrong way around are taken",
        "envs/robot/limits.py",
        "if not low < high:",
        "if False:",
        seen_by("limits"),
    ),
    Fault(
        "S25",
        "a late tick pushes the later ones",
        "envs/robot/clock.py",
        "self._count += 1 + missed",
        "self._count += 1",
        seen_by("env"),
    ),
    Fault(
        "S26",
        "a joint that goes the other way passes the check",
        "envs/robot/check.py",
        "share = found[0] / way",
        "share = abs(found[0] / way)",
        seen_by("tasks"),
    ),
]

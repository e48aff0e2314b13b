"""Bodies of simulated robots: MuJoCo models that come with dm-control, driven by position servos.

arm         Kinova's Jaco, 6 joints (dm_control/third_party/kinova): gravity, friction and torque
            limits as
            in its data sheet; a servo on each joint
quadruped   dm-control's, 12 actuators (yaw, lift and extension of each leg)
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from envs.errors import MissingExtra
from envs.extras import load, missing_extra
from envs.physics import load_simulation, save_simulation
from envs.robot.limits import Limits

TIMESTEP = 0.005  # seconds
_RADIUS = 0.04  # m, of a payload


class Body(Protocol):
    """What the electronics of a simulated robot see of it: setpoints in, measurements out, time
    that passes.

    >>> Arm().actions[0], Arm().sensors[0]
    ('joint_1.pos', 'joint_1.pos')
    """

    actions: tuple[str, ...]
    sensors: tuple[str, ...]

    def restart(self) -> None: ...
    def carry(self, mass: float) -> None: ...
    def setpoint(self) -> NDArray[np.float64]: ...
    def measure(self) -> NDArray[np.float64]: ...
    def drive(self, setpoint: NDArray[np.float64]) -> None: ...
    def step(self) -> None: ...
    def state(self) -> dict[str, Any]: ...
    def load_state(self, state: Any) -> None: ...


class _Simulated:
    """A model, and the state of its simulation. `carrier` is the body that a payload is put on."""

    carrier: str

    def __init__(self, spec: Any) -> None:
        self._mujoco = load("mujoco", "a simulated robot")
        spec.option.timestep = TIMESTEP
        self.model = spec.compile()
        self.data = self._mujoco.MjData(self.model)
        self._carrier = self.model.body(self.carrier).id
        self._mass, self._inertia = (
            float(self.model.body_mass[self._carrier]),
            self.model.body_inertia[self._carrier].copy(),
        )

    def carry(self, mass: float) -> None:
        """From now on it carries a ball of this mass (kg), in place of the one before."""
        self.model.body_mass[self._carrier] = self._mass + mass
        self.model.body_inertia[self._carrier] = self._inertia + 0.4 * mass * _RADIUS**2

    def step(self) -> None:
        """One timestep."""
        self._mujoco.mj_step(self.model, self.data)

    def drive(self, setpoint: NDArray[np.float64]) -> None:
        """Where the servos go."""
        self.data.ctrl[: len(setpoint)] = setpoint

    def state(self) -> dict[str, Any]:
        """All of the simulation, as plain data."""
        return save_simulation(self.model, self.data)

    def load_state(self, state: Any) -> None:
        """Go on from `state()`."""
        load_simulation(self.model, self.data, state)


class Arm(_Simulated):
    """The Jaco arm. It measures joint angles (rad), velocities (rad/s), and where its wrist is (m).

    Args:
        joints: how many joints are driven by commands, from the base; the others hold where they
            are at rest.

    >>> arm = Arm(joints=3)
    >>> arm.actions
    ('joint_1.pos', 'joint_2.pos', 'joint_3.pos')
    >>> {k: round(v, 3) for k, v in arm.forward(dict.fromkeys(arm.actions, 3.0)).items()}
    {'tip.x': -0.048, 'tip.y': -0.072, 'tip.z': 1.017}
    """

    carrier = "b_6"
    rest = (0.0, 3.6, 1.4, 0.0, 0.0, 0.0)  # rad: the forearm before the base, 0.3 m above the floor
    gains = ((800.0, 120.0, 30.5),) * 3 + (
        (400.0, 60.0, 6.8),
    ) * 3  # Nm/rad, Nms/rad, largest Nm (Kinova's data sheet)

    def __init__(self, joints: int = 6) -> None:
        mujoco = load("mujoco", "a simulated arm")
        spec = mujoco.MjSpec.from_file(str(_file("third_party/kinova/jaco_arm.xml")))
        for i, (kp, kv, torque) in enumerate(self.gains, start=1):
            servo = spec.add_actuator(
                name=f"joint_{i}", target=f"joint_{i}", trntype=mujoco.mjtTrn.mjTRN_JOINT
            )
            servo.set_to_position(kp=kp, kv=kv)
            servo.forcelimited, servo.forcerange = True, [-torque, torque]
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        super().__init__(spec)
        self.actions = tuple(f"joint_{i}.pos" for i in range(1, joints + 1))
        speeds = tuple(f"joint_{i}.vel" for i in range(1, joints + 1))
        self.sensors = (*self.actions, *speeds, "tip.x", "tip.y", "tip.z")
        self._count, self._site = joints, self.model.site("wristsite").id
        self._elsewhere = mujoco.MjData(self.model)
        self.restart()

    def restart(self) -> None:
        """At rest."""
        self._mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = self.data.ctrl[:] = self.rest
        self._mujoco.mj_forward(self.model, self.data)

    def setpoint(self) -> NDArray[np.float64]:
        """The angles that it has: who commands these holds it."""
        return np.array(self.data.qpos[: self._count])

    def measure(self) -> NDArray[np.float64]:
        """The sensors' numbers."""
        qpos, qvel = self.data.qpos[: self._count], self.data.qvel[: self._count]
        return np.concatenate([qpos, qvel, self.data.site_xpos[self._site]])

    def forward(self, command: Mapping[str, float]) -> dict[str, float]:
        """Where the wrist would be."""
        data = self._elsewhere
        data.qpos[:] = self.rest
        data.qpos[: self._count] = [command[name] for name in self.actions]
        self._mujoco.mj_kinematics(self.model, data)
        return dict(
            zip(("tip.x", "tip.y", "tip.z"), data.site_xpos[self._site].tolist(), strict=True)
        )


class Quadruped(_Simulated):
    """A quadruped of 107 kg. It measures its 12 actuators, its 16 joints' speeds (rad/s), and what
    an estimator would say: "torso.up" (1 is upright), "torso.height" (m), "torso.forward" (m/s,
    along its own axis), and turning rates.

    >>> robot = Quadruped()
    >>> len(robot.actions), len(robot.sensors)
    (12, 34)
    """

    carrier = "torso"
    rest = np.tile([0.0, -1.0, 0.8], 4)  # the legs folded, the torso on the floor

    def __init__(self) -> None:
        mujoco = load("mujoco", "a simulated quadruped")
        spec = mujoco.MjSpec.from_file(str(_file("suite/quadruped.xml")))
        gone = [g for g in spec.geoms if g.name == "terrain" or g.name.startswith("wall_")]
        gone += [b for b in spec.bodies if b.name == "ball"]
        gone += [s for s in spec.sensors if s.type == mujoco.mjtSensor.mjSENS_RANGEFINDER]
        for each in gone:
            spec.delete(each)
        super().__init__(spec)
        self.actions = tuple(self.model.actuator(i).name for i in range(self.model.nu))
        joints = [self.model.joint(i).name for i in range(1, self.model.njnt)]
        pose = (
            "torso.up",
            "torso.height",
            "torso.forward",
            "torso.roll_rate",
            "torso.pitch_rate",
            "torso.yaw_rate",
        )
        self.sensors = (*self.actions, *(f"{name}.vel" for name in joints), *pose)
        self._torso = self.model.body("torso").id
        self._start: Any = None
        self.restart()

    def restart(self) -> None:
        """Lying on the floor, the legs folded."""
        mujoco, data = self._mujoco, self.data
        mujoco.mj_resetData(self.model, data)
        if self._start is None:  # it settles once
            data.qpos[2], data.ctrl[:] = 0.4, self.rest
            for _ in range(400):
                mujoco.mj_step(self.model, data)
            self._start = data.qpos.copy(), data.act.copy()
            mujoco.mj_resetData(self.model, data)
        data.qpos[:], data.act[:] = self._start
        data.ctrl[:] = self.rest
        mujoco.mj_forward(self.model, data)

    def setpoint(self) -> NDArray[np.float64]:
        """The lengths that its actuators have: who commands these holds it."""
        return np.clip(
            self.data.actuator_length,
            self.model.actuator_ctrlrange[:, 0],
            self.model.actuator_ctrlrange[:, 1],
        )

    def measure(self) -> NDArray[np.float64]:
        """The sensors' numbers."""
        data = self.data
        turned = data.xmat[self._torso].reshape(3, 3)
        forward = float(turned[:, 0] @ data.qvel[:3])
        pose = [turned[2, 2], data.qpos[2], forward, *data.qvel[3:6]]
        return np.concatenate([data.actuator_length, data.qvel[6:], pose])


def _file(name: str) -> Path:
    """A model of dm-control's, without importing it: that would choose a renderer."""
    found = importlib.util.find_spec("dm_control")
    if found is None or found.origin is None:
        raise missing_extra("a simulated robot", "dm_control")
    path = Path(found.origin).parent / name
    if not path.is_file():
        raise MissingExtra(
            f"a simulated robot needs {path}, which this release of dm-control lacks; "
            f"pip install dm-control"
        )
    return path


def arm_limits(joints: int = 6, hz: float = 20.0, **others: Any) -> Limits:
    """Limits of the simulated arm: the speeds of its data sheet (36 and 48 degrees a second), above
    the floor.

    >>> arm_limits().names[0], arm_limits().actions["joint_1.pos"].rate
    ('joint_1.pos', 0.6)
    """
    ranges = ((-1.2, 1.2), (2.9, 4.3), (0.7, 2.2), (-1.5, 1.5), (-1.5, 1.5), (-1.5, 1.5))
    actions = {}
    for i, ((low, high), home) in enumerate(zip(ranges[:joints], Arm.rest), start=1):
        rate = 0.6 if i <= 3 else 0.8
        step = 0.9 * rate / hz
        actions[f"joint_{i}.pos"] = {
            "low": low,
            "high": high,
            "step": step,
            "rate": rate,
            "home": home,
        }
    return Limits.read({"hz": hz, "actions": actions, **others}, "arm_limits")


def quadruped_limits(hz: float = 20.0, **others: Any) -> Limits:
    """Limits of the simulated quadruped.

    >>> quadruped_limits().actions["lift_front_left"].low
    -1.0
    """
    ranges = {"yaw": (-1.0, 1.0, 0.0), "lift": (-1.0, 1.1, -1.0), "extend": (-0.8, 0.8, 0.8)}
    actions = {}
    for corner in ("front_left", "front_right", "back_right", "back_left"):
        for part, (low, high, home) in ranges.items():
            each = {"low": low, "high": high, "step": 5.0 / hz, "rate": 6.0, "home": home}
            actions[f"{part}_{corner}"] = each
    return Limits.read({"hz": hz, "actions": actions, **others}, "quadruped_limits")

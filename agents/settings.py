"""What a training run is made of: the frozen dataclasses behind the YAML files of ``configs``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from agents.build import config_class, default_config
from agents.process import check_device, check_threads
from agents.replay.size import parse_size
from worldmodels.ranges import check_ranges


@dataclass(frozen=True)
class EnvSettings:
    """The environments of a run.

    Args:
        id: of gymnasium or dm-control.
        num_envs: how many, stepped together in one process.
        action_repeat: environment steps an action.
        time_limit: environment steps an episode; the task's own if None.
        workers: processes that the environments run in, while the agent learns; 0: this one.
        options: for the environment's constructor; ``image_size=[64, 64]`` scales images, and those
            of dm_control are asked for by ``pixels``, ``size``, ``camera`` and ``quality``.
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 4096]": "num_envs",
        "[1, 10000]": "action_repeat",
        "[1, 1e9]": "time_limit",
        "[0, 1024]": "workers",
    }

    id: str = "Pendulum-v1"
    num_envs: int = 1
    action_repeat: int = 1
    time_limit: int | None = None
    workers: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class ReplaySettings:
    """Which recorded sequences are learned from.

    Args:
        recent: the share of sequences that are drawn with a preference for new ones.
        prioritized: the share that is drawn around rows that surprised the model, or of sequences
            that surprised the critics of TD-MPC and SAC. The rest is uniform.
        recency: a new sequence is more likely by a power of its age; 1 as in DreamerV3's code, 0 is
            uniform.
        priority: a row is more likely by a power of its surprise; 0 is uniform.
        online: before all, rows that no update has seen, each once.
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[0, 1]": "recent prioritized",
        "[0, 10]": "recency priority",
    }

    recent: float = 0.0
    prioritized: float = 0.0
    recency: float = 1.0
    priority: float = 0.8
    online: bool = True

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.recent + self.prioritized > 1.0:
            raise ValueError(
                "recent and prioritized are shares of one batch, at most 1 together, got "
                f"{self.recent} and {self.prioritized}"
            )


@dataclass(frozen=True)
class OfflineSettings:
    """What an agent learns from where it learns from a log alone (:mod:`agents.offline`).

    Args:
        log: a file or folder of episodes.
        format: of the log; found out if ``auto``.
        model: a run of ``pixyz pretrain one_step`` on this log.
        action_scale: what the log's actions are divided by, one number or one for each: what the
            agent calls 1, such as the limits' ``step``. The largest of the log if empty.
        updates: of the agent.
        penalty: what a deviation of disagreement of the model's members costs, in rewards.
        horizon: imagined steps of a path.
        rows: paths that are imagined together, from rows of the log.
        every: updates between that.
        kept: rounds of paths that are learned from.
        share: of a batch that is of the log itself.
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[1, 1e12]": "updates",
        "[0, 1e6]": "penalty",
        "[1, 10000]": "horizon every kept",
        "[1, 65536]": "rows",
        "(0, 1)": "share",
    }

    log: str = ""
    format: Literal["auto", "npz", "store", "csv", "minari", "lerobot", "replay"] = "auto"
    model: str = ""
    action_scale: tuple[float, ...] = ()
    updates: int = 5000
    penalty: float = 1.0
    horizon: int = 5
    rows: int = 64
    every: int = 20
    kept: int = 20
    share: float = 0.25

    def __post_init__(self) -> None:
        check_ranges(self)
        if not all(0 < scale < float("inf") for scale in self.action_scale):
            raise ValueError(f"action_scale must be above 0 and finite, got {self.action_scale}")


@dataclass(frozen=True)
class ShownSettings:
    """What a learner of `pixyz robot` learns beside what its actors do: a log of demonstrations,
    and what persons do who intervene.

    Args:
        log: a file or folder of demonstrations, with actions in the robot's units; interventions
            alone if empty.
        format: of the log; found out if ``auto``.
        share: of a batch; half is what RLPD takes.
        capacity: rows of interventions that are kept of each actor.
    """

    RANGES: ClassVar[dict[str, str]] = {"(0, 1)": "share", "[1, 1e10]": "capacity"}

    log: str = ""
    format: Literal["auto", "npz", "store", "csv", "minari", "lerobot", "replay"] = "auto"
    share: float = 0.5
    capacity: int = 100_000

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class RunSettings:
    """A training run.

    Args:
        env: the environments.
        seed: of weights, draws and environments.
        device: where it computes: cpu, cuda, cuda:N or mps.
        agent: its settings; ``agent.kind`` is a name of :mod:`agents.build`, or ``module:Class``.
        steps: environment steps, repeated actions counted.
        prefill: environment steps of random actions before the first update.
        prefill_hold: actions for which one of these is kept: a robot whose steps are small goes
            nowhere by steps that are drawn anew at each tick.
        prefill_updates: these actions make updates due, too, all of them at their end.
        train_ratio: steps replayed for each row acted after, an episode's last one, too (an update
            replays ``batch * length``).
        capacity: actions kept in the replay, or the space that they take, such as ``2GB``.
        replay: which of them are learned from.
        eval_every: environment steps between evaluations; 0 evaluates only at the end.
        eval_episodes: episodes of an evaluation, under the policy's mean action.
        eval_limit: actions after which an episode of an evaluation counts with the return that it
            has.
        checkpoint_every: environment steps between checkpoints; one is written at the end in any
            case.
        checkpoint_minutes: minutes between checkpoints, beside those; 0: none.
        log_every: updates a line of the log.
        threads: of torch; 0 leaves them alone.
        clip: at the end, a video of one episode of what was learned, in the run's folder.
        tracker: a further log: wandb, tensorboard, or none.
        start: the run that the agent started from: of ``pixyz pretrain``, or of
            ``pixyz robot offline``.
        offline: what it learned from, where that was a log alone.
        shown: demonstrations and interventions, which ``pixyz robot learn`` mixes into batches.
    """

    RANGES: ClassVar[dict[str, str]] = {
        "[0, 4294967295]": "seed",
        "[0, 1e9]": "threads",
        "[1, 1e12]": "steps log_every",
        "[0, 1e12]": "prefill eval_every checkpoint_every",
        "(0, 1e6]": "train_ratio",
        "[1, 1e10]": "capacity",
        "[1, 1024]": "eval_episodes",
        "[1, 1e9]": "eval_limit prefill_hold",
        "[0, 1e6]": "checkpoint_minutes",
    }

    agent: Any = field(default_factory=default_config, metadata={"kinds": config_class})
    env: EnvSettings = field(default_factory=EnvSettings)
    seed: int = 0
    device: str = "cpu"
    threads: int = 0
    steps: int = 100_000
    prefill: int = 1024
    prefill_hold: int = 1
    prefill_updates: bool = False
    train_ratio: float = 256.0
    capacity: int | str = 1_000_000
    replay: ReplaySettings = field(default_factory=ReplaySettings)
    eval_every: int = 10_000
    eval_episodes: int = 10
    eval_limit: int = 30_000
    checkpoint_every: int = 10_000
    checkpoint_minutes: float = 10.0
    log_every: int = 100
    clip: bool = False
    tracker: Literal["none", "wandb", "tensorboard"] = "none"
    start: str | None = None
    offline: OfflineSettings | None = None
    shown: ShownSettings | None = None

    def __post_init__(self) -> None:
        check_ranges(self, texts=["capacity"])
        if isinstance(self.capacity, str):
            parse_size(self.capacity)
        check_threads(self.threads)
        check_device(self.device)
        if self.prefill >= self.steps:
            raise ValueError(
                f"prefill {self.prefill} leaves nothing of {self.steps} steps to learn in; "
                f"lower it, or raise steps"
            )

    @property
    def updates(self) -> int:
        """Of a run without an environment."""
        return 0 if self.offline is None else self.offline.updates

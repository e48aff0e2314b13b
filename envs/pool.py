"""The environments of a vector: where they live, their seeds, and what happens when one fails."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from envs import errors
from envs.errors import EnvError, EnvFailure, SpaceError
from envs.host import Host, Local, Recipe, Reply, Request, Row, Source, spaces_of
from envs.process import Process
from envs.rows import Failure, derive_seeds, renewed_seed

_CLOSING = 3.0  # seconds that workers have to close their environments


@dataclass
class Seat:
    """What a vector knows of one environment.

    `build` is the seed it was made with, `line` the attempt at the run in which it last started
    anew, `count` how often it has, `strikes` its failures without a finished episode in between.
    Not `made`: it must be made before it is used.
    """

    build: int | None
    line: int = 0
    count: int = 0
    strikes: int = 0
    made: bool = True


class Pool:
    """N environments, made at once. Requests and replies are those of `envs.host`.

    `base` is the seed of the run, `failures` what has failed since somebody asked, `spaces` those
    of all environments, `apart` whether they live in processes of their own, `begun` the requests
    whose rows nobody has waited for.
    """

    def __init__(
        self,
        sources: list[Source],
        seed: int | None,
        workers: int,
        strikes: int,
        step_timeout: float,
    ) -> None:
        self.base = seed
        self.seats = [Seat(build) for build in derive_seeds(seed, len(sources))]
        self.failures: list[Failure] = []
        self._strikes = strikes
        self._hosts: list[Host] = []
        self._closed = False
        self.apart = workers > 0
        self.begun: dict[int, Request] = {}
        try:
            self._fill(sources, workers, step_timeout)
            self._host = {i: host for host in self._hosts for i in host.envs}
            replies = self.ask({i: ("make", seat.build) for i, seat in enumerate(self.seats)})
            self._described(0, replies[0])
            self.spaces = spaces_of(replies[0].value)
            limits = [self._described(i, reply)["time_limit"] for i, reply in replies.items()]
        except BaseException:
            self.close()
            raise
        self.time_limit: int | None = None if None in limits else max(limits)

    def _fill(self, sources: list[Source], workers: int, step_timeout: float) -> None:
        if workers == 0:
            self._hosts = [Local(i, source) for i, source in enumerate(sources)]
            return
        recipes: list[Recipe] = []
        for source in sources:
            if not isinstance(source, (str, Recipe)):
                raise EnvError(
                    "workers: expected ids, since a process makes its own environments, "
                    "got a factory; "
                    "write it as module:Class, or leave workers at 0"
                )
            recipes.append(Recipe(source, {}) if isinstance(source, str) else source)
        for part in np.array_split(np.arange(len(recipes)), min(workers, len(recipes))):
            own = tuple(part.tolist())
            self._hosts.append(Process(own, [recipes[i] for i in own], step_timeout))

    def close(self) -> None:
        """Close all environments, within seconds."""
        self._closed = True
        deadline = time.monotonic() + _CLOSING
        for host in self._hosts:
            host.hang_up()
        for host in self._hosts:
            host.close(deadline)

    # ---------------------------------------------------------------- requests

    def ask(self, requests: dict[int, Request]) -> dict[int, Reply]:
        """The replies to requests, as they are."""
        self._check_open()
        self._send(requests)
        return {i: self._host[i].finish(i, request) for i, request in requests.items()}

    def _send(self, requests: dict[int, Request]) -> None:
        for host in self._hosts:
            own = {i: requests[i] for i in host.envs if i in requests}
            if own:
                host.begin(own)

    def _check_open(self) -> None:
        if self._closed:
            raise EnvError("expected an open vector, got one that was closed; make it anew")

    def neighbours(self, i: int) -> tuple[int, ...]:
        """The environments that share a process with environment i, itself too."""
        return self._host[i].envs

    def collect(self, requests: dict[int, Request]) -> dict[int, Row]:
        """The rows that requests to reset or step lead to; `begin`, then `finish`."""
        self.begin(requests)
        return self.finish()

    def begin(self, requests: dict[int, Request]) -> None:
        """Requests to reset or step; environments in processes go to work at once."""
        self._check_open()
        self.begun = requests
        if self.apart:
            self._send({i: request for i, request in requests.items() if self.seats[i].made})

    def finish(self) -> dict[int, Row]:
        """The rows that the requests have led to.

        Environments that fail are made anew, so that their rows are first ones. Raises EnvFailure
        when one has failed too often, and what an environment that broke the contract raised.
        """
        self._check_open()
        seats, requests, self.begun = self.seats, self.begun, {}
        rows: dict[int, Row] = {}
        waiting = list(requests)
        for i in waiting:
            row = None
            while row is None:
                if seats[i].made:
                    row = self._row(i, self._host[i].finish(i, requests[i]), requests[i][0])
                else:
                    row = self._begin(i, requests[i])
                if row is None:
                    for j in self.neighbours(i):  # their process may have been lost with i
                        if not seats[j].made and j in rows and not rows[j].is_last:
                            del rows[j]
                            waiting.append(j)
            rows[i] = row
        return rows

    def _row(self, i: int, reply: Reply, call: str) -> Row | None:
        """The row in a reply; None when the environment failed and must be made anew."""
        if reply.kind == "ok":
            return reply.value if isinstance(reply.value, Row) else Row(*reply.value)
        if reply.kind == "broken":
            self.refuse(i, reply, call)
        self._strike(i, reply, call)
        return None

    def _begin(self, i: int, request: Request) -> Row | None:
        """Make an environment again and start an episode, with a new seed or the one asked for."""
        given = request[1] if request[0] == "reset" else None
        seed = self.renew(i) if given is None else given
        reply = self.ask({i: ("make", seed)})[i]
        if reply.kind in ("failed", "lost"):
            return self._row(i, reply, "make")
        self._described(i, reply)
        self.seats[i].build, self.seats[i].made = seed, True
        return self._row(i, self.ask({i: ("reset", seed)})[i], "reset")

    def renew(self, i: int) -> int | None:
        """A seed that environment i has not had."""
        seat = self.seats[i]
        seat.count += 1
        return renewed_seed(self.base, i, seat.line, seat.count)

    def restore_seats(self, seats: list[Seat]) -> None:
        """Take over saved seats; what was made with another seed is made as it was."""
        before, self.seats = self.seats, seats
        pairs = enumerate(zip(before, seats, strict=True))
        other = [
            i for i, (old, new) in pairs if new.made and (not old.made or old.build != new.build)
        ]
        for i, reply in self.ask({i: ("make", seats[i].build) for i in other}).items():
            self._described(i, reply)

    def _described(self, i: int, reply: Reply) -> dict[str, Any]:
        """The description in a reply to "make". Raises what hindered it, and SpaceError for other
        spaces.
        """
        if reply.kind != "ok":
            self.refuse(i, reply, "make")
        found: dict[str, Any] = reply.value
        if i > 0 or hasattr(self, "spaces"):
            for name, got, expected in zip(
                ("observation_space", "action_space"), spaces_of(found), self.spaces, strict=True
            ):
                if got != expected:
                    raise SpaceError(
                        f"{name}: expected that of environment 0, {expected}, got {got}", env=i
                    )
        return found

    # ---------------------------------------------------------------- failures

    def _strike(self, i: int, reply: Reply, call: str) -> None:
        """Note a failure; what must be made anew is marked. Raises EnvFailure when it is one too
        many.
        """
        seat = self.seats[i]
        seat.strikes += 1
        seat.made = False
        if reply.kind == "lost":
            self._host[i].restart()
            for j in self.neighbours(i):
                self.seats[j].made = False
        self.note(i, reply, call)
        if seat.strikes >= self._strikes:
            raise EnvFailure(
                f"{call}: {reply.said}; "
                f"its failure {seat.strikes} without a finished episode in between, "
                "which ends it; the last traceback is in `trace`",
                env=i,
                trace=reply.trace,
            ) from reply.error

    def note(self, i: int, reply: Reply, call: str) -> None:
        """Keep what a reply says, if it is a failure, for those who ask."""
        if reply.kind != "ok":
            self.failures.append(
                Failure(
                    i,
                    self.seats[i].strikes,
                    f"environment {i}, {call}: {reply.said}\n{reply.trace}",
                )
            )

    def refuse(self, i: int, reply: Reply, call: str) -> NoReturn:
        """Raise the error of a reply, as if it had been raised here."""
        if reply.kind != "broken":
            raise EnvFailure(f"{call}: {reply.said}", env=i, trace=reply.trace) from reply.error
        if isinstance(reply.error, EnvError) and call != "make":  # with all that it knows
            raise reply.error.at(i) from reply.error
        kind = getattr(errors, reply.name, EnvError)
        kind = kind if isinstance(kind, type) and issubclass(kind, EnvError) else EnvError
        raise kind(reply.said, env=None if call == "make" else i) from reply.error

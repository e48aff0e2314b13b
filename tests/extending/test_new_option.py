"""A newcomer's task: a new option of sampling is a field; here a temperature (Glow, 2018)."""

from dataclasses import dataclass

import torch

from pixyz.distributions import Draw, Normal
from pixyz.losses import E, Parameter
from pixyz.plan import Scope, Slot


@dataclass(frozen=True)
class Cooled(Draw):
    temperature: float = 1.0


class Warm(Normal):
    """A normal that knows the option."""

    def sample_from(self, scope: Scope, params, how: Draw) -> dict[str, Slot]:
        drawn = super().sample_from(scope, params, how)
        if not isinstance(how, Cooled):
            return drawn
        (name, x), t = *drawn.items(), how.temperature
        return {name: scope.builder.point(lambda x, loc: loc + t * (x - loc), x, params["loc"])}


def test_it_is_drawn_so_alone_in_expectations_and_in_products() -> None:
    p, loc = Warm("x", "m", loc="m", scale=2.0), torch.full((6, 3), 1.5)
    m = Normal("m", loc=1.5, scale=0.0, features_shape=[3])
    for cool in (0.0, 0.25):
        q, seen = p.drawn_with(Cooled(temperature=cool)), []
        for draw in (p.sample, q.sample):
            torch.manual_seed(0)
            seen.append(draw({"m": loc})["x"] - loc)
        torch.manual_seed(0)
        seen.append(E(q, Parameter("x")).eval({"m": loc}) - loc)
        torch.testing.assert_close(seen[1:], [cool * seen[0]] * 2)
        assert bool((q * m).sample(batch_n=5)["x"].sub(1.5).abs().max() <= cool * 10)

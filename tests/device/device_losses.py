"""Every loss, product, mixture, flow and trained model on a device that is not the CPU: the golden
expressions and flows.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from golden_expressions import CASES
from golden_parts import Golden, fill
from made_up_device import compare, to_device
from test_flows import FLOWS, made
from torch import Tensor, nn

from pixyz.models.model import Model

FINITE = "_local_scalar_dense at pixyz/models/model.py"
FIRST = {  # a new plan looks at constants, and at parameters on shapes that are new to it
    "_local_scalar_dense at pixyz/distributions/families/constant.py": 0,
    "_local_scalar_dense at pixyz/plan/domain.py": 0,
}
# they are multiplied anew at each call
FRESH = (
    "joint",
    "joint_of_three",
    "figure_4",
    "posterior_of_a_mixture",
)
# of three steps
READS = {n: {FINITE: 3} for n in CASES if n.startswith("model")} | dict.fromkeys(FRESH, FIRST)
# its inverse, step by step
ROOTS = {
    "_local_scalar_dense at pixyz/flows/planar.py": 0,
    "equal at pixyz/flows/planar.py": 0,
}


@pytest.fixture(autouse=True)
def _double() -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def parts(made: Golden) -> list[Any]:
    shown = made.shown
    found = (
        [shown.distributions, shown.loss_cls, shown.test_loss_cls]
        if isinstance(shown, Model)
        else [shown]
    )
    return [*made.modules, *found]


@pytest.mark.parametrize("name", list(CASES))
def test_expressions(name: str) -> None:
    made: list[Golden] = []

    def build() -> tuple[list[Any], dict[str, Any]]:
        made.append(CASES[name]())
        fill(made[-1].modules)
        return parts(made[-1]), dict(made[-1].inputs)

    def question(_: Any) -> Callable[[dict[str, Any]], Any]:
        golden = made[-1]
        for cell in golden.compute.__closure__ or ():  # masks
            if len(made) > 1 and isinstance(cell.cell_contents, Tensor):
                cell.cell_contents = to_device(cell.cell_contents)

        def ask(given: dict[str, Any]) -> list[Any]:
            inputs = {
                k: v.detach().requires_grad_() if torch.is_floating_point(v) else v
                for k, v in given.items()
            }
            weights = [p for m in golden.modules for p in m.parameters()]
            value = golden.compute(inputs)
            if not value.requires_grad:
                return [value]
            return [
                value.detach(),
                *torch.autograd.grad(value.sum(), [*weights, *inputs.values()], allow_unused=True),
            ]

        return ask

    compare(build, question, READS.get(name))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", FLOWS)
def test_flows(name: str, training: bool) -> None:
    def build() -> tuple[nn.Module, list[Any]]:
        flow, x, given = made(name)
        return flow.train(training), [x, given]

    def question(flow: Any) -> Callable[[list[Any]], Any]:
        def ask(v: list[Any]) -> list[Tensor]:
            z, logdet = flow.forward_and_logdet(v[0].detach().requires_grad_(), v[1])
            wanted = list(flow.parameters())
            grads = (
                torch.autograd.grad((z.flatten(1).sum(1) + logdet).sum(), wanted, allow_unused=True)
                if wanted
                else []
            )
            back = [] if training and "norm" in name else [flow.inverse(z.detach(), v[1])]
            return [z.detach(), logdet, *grads, *back]

        return ask

    compare(build, question, ROOTS if "planar" in name else {})

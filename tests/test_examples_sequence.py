"""The examples of loops that are no usual state-space models run, learn, and compute what their
equations say.
"""

import runpy
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"


@pytest.fixture(scope="module")
def dynanet() -> dict[str, object]:
    return runpy.run_path(str(EXAMPLES / "dynanet.py"))


def test_gqn_learns_from_its_views() -> None:
    main = runpy.run_path(str(EXAMPLES / "gqn.py"))["main"]
    error, blind = main(["--updates", "60", "--seed", "1"])
    assert error < 1.1 * blind


def test_dynanet_s_update_is_kalman_s(dynanet) -> None:
    """Against the textbook form with an inverse,
    and the covariance stays symmetric and positive.
    """
    torch.manual_seed(0)
    n, a = dynanet["N"], dynanet["A"]
    root, z = torch.randn(5, n, n), torch.randn(5, n)
    spread, seen, noise = root @ root.mT + torch.eye(n), torch.randn(5, a), torch.rand(5, a) + 0.1
    found = dynanet["Update"]()(z_pred=z, P_pred=spread, a=seen, R=noise)
    h = torch.eye(a, n)
    gain = spread @ h.T @ torch.inverse(h @ spread @ h.T + torch.diag_embed(noise))
    torch.testing.assert_close(
        found["z"], z + (gain @ (seen - z @ h.T).unsqueeze(-1)).squeeze(-1), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(found["P"], (torch.eye(n) - gain @ h) @ spread, rtol=1e-4, atol=1e-4)
    assert torch.linalg.eigvalsh(found["P"]).min() > 0


def test_dynanet_carries_a_matrix_and_equals_its_plain_loop(dynanet) -> None:
    torch.manual_seed(0)
    loss, _, p = dynanet["build"]()
    data = dynanet["pendulum"](3, 6, torch.Generator().manual_seed(0))
    value, found = loss.eval(data, return_dict=True)
    z, spread, h = (
        torch.zeros(3, dynanet["N"]),
        torch.eye(dynanet["N"]).expand(3, -1, -1),
        torch.zeros(3, dynanet["H"]),
    )
    encoder, transition, predict, update = (
        next(m for m in loss.modules() if type(m).__name__ == name)
        for name in ("Encoder", "Transition", "Predict", "Update")
    )
    total = 0.0
    for t in range(6):
        seen, moved = encoder(x=data["x"][t]), transition(z_prev=z, h_prev=h)
        ahead = predict(A=moved["A"], z_prev=z, P_prev=spread)
        now = update(**ahead, **seen)
        for state in (now["z"], ahead["z_pred"]):
            total = total - torch.distributions.Normal(**p(state)).log_prob(data["y"][t]).sum(-1)
        z, spread, h = now["z"], now["P"], moved["h"]
        torch.testing.assert_close(found["z"][t], z, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(value, total.mean() / 6, rtol=1e-4, atol=1e-4)

"""The check of a GPU runs where none is, and its parts tell what is wrong."""

import gpu_check
import pytest
import torch


def test_it_runs_on_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    found = gpu_check.main(["--device", "cpu", "--updates", "1", "--sizes", "tiny"])
    assert [c["agent"] for c in found["compared"]] == list(gpu_check.KINDS)
    assert all(c["same"] and c["gap"] == 0 for c in found["compared"])
    assert [line["precision"] for line in found["updates"]] == ["float32", "bfloat16"]
    assert all(
        line["eager"] > 0 and "the agent is on cpu" in line["captured"] for line in found["updates"]
    )
    assert "| tiny | float32 |" in capsys.readouterr().out


def test_another_number_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = gpu_check.gradients
    calls = []

    def off(agent, batch):
        loss, found = gradients(agent, batch)
        calls.append(1)
        if len(calls) == 2:
            found[min(found)] *= 1 + 1e-5
        return loss, found

    monkeypatch.setattr(gpu_check, "gradients", off)
    assert not gpu_check.compare("sac", "cpu")["same"]


def test_draws_are_those_of_the_cpu() -> None:
    torch.manual_seed(0)
    wanted = [torch.rand(3), torch.randn(2, 2), torch.empty(4).uniform_()]
    torch.manual_seed(0)
    with gpu_check.SameDraws():
        found = [torch.rand(3), torch.randn(2, 2), torch.empty(4).uniform_()]
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)

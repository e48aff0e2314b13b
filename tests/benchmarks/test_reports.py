"""What the speed benchmarks report: growth, peaks of memory, tables."""

import json
from pathlib import Path

import draw_speed
import exporting
import learning_tables
import pytest
import speed_tables
import torch

pytest.importorskip("psutil")
import scaling


def test_growth_of_a_line_and_of_a_square() -> None:
    sizes = [4, 8, 16, 32, 64]
    line = scaling.growth(sizes, [3.0 * n for n in sizes])
    assert line["slope"] == 3.0 and line["exponent"] == 1.0 and line["r_squared"] == 1.0
    assert scaling.growth(sizes, [n**2.0 for n in sizes])["exponent"] == 2.0


def test_the_peak_counts_what_is_held_at_one_time() -> None:
    def run() -> None:
        for _ in range(3):
            a = torch.zeros(1000)
            b = torch.zeros(500)
            del a, b

    assert scaling.peak_bytes(run) == 6000


@pytest.mark.parametrize("sweep", list(scaling.SWEEPS))
def test_every_sweep_runs_at_its_smallest_size(sweep: str) -> None:
    scaling.evaluation(sweep, scaling.SWEEPS[sweep][0])()


def test_memory_does_not_grow_and_plans_are_kept() -> None:
    line = scaling.lifetime_line(50)
    assert line["plans"] == 1 and line["sources_grown"] == 0 and line["objects_grown"] < 50


def test_the_last_line_of_a_size_is_shown(tmp_path: Path) -> None:
    def line(size: str, hand: float, ratio: float) -> str:
        told = {
            "size": size,
            "cpu_seconds": {"hand": hand, "pixyz": hand * ratio},
            "ratio": {"pixyz": ratio},
            "quartiles": {"pixyz": [ratio - 0.1, ratio + 0.1]},
        }
        return json.dumps(told)

    path = tmp_path / "vae.jsonl"
    path.write_text(
        "\n".join([line("tiny", 0.5, 3.0), line("big", 0.25, 1.1), line("tiny", 0.001, 1.25)]),
        encoding="utf-8",
    )
    lines = speed_tables.read(path)
    assert list(lines) == ["tiny", "big"]
    text = speed_tables.contenders(lines, speed_tables.VAE_ROWS, "hand")
    assert (
        "| PyTorch by hand, ms | 1 | 250 |" in text and "| **this library** | 1.25 | 1.10 |" in text
    )
    assert "1.25 (1.15-1.35)" in speed_tables.promises(lines, ["pixyz"])
    pytest.importorskip("matplotlib")
    draw_speed.draw({"a": lines, "b": lines}, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").stat().st_size > 1000


def test_the_page_shows_what_the_results_say() -> None:
    page = speed_tables.PAGE.read_text(encoding="utf-8")
    assert speed_tables.filled(page, speed_tables.tables(speed_tables.HERE / "results")) == page


def test_the_table_of_exported_policies_is_that_of_the_results() -> None:
    assert exporting.fill(exporting.PAGE, exporting.RESULTS) == exporting.PAGE.read_text(
        encoding="utf-8"
    )


def test_the_table_of_agents_is_that_of_the_results() -> None:
    made = learning_tables.table(learning_tables.read())
    assert f"<!-- scores -->\n{made}\n<!-- end -->" in learning_tables.PAGE.read_text(
        encoding="utf-8"
    )


def test_seeds_that_were_judged_some_frames_apart_are_one_row() -> None:
    """An episode that ends within a repeated action puts an evaluation off by a frame."""
    run = {"score": 3.0, "random": 1.0, "cpu_minutes": 2.0}
    seeds = [{**run, "evaluations": [[1500, 4.0], [3001, 6.0]]}]
    seeds += [{**run, "evaluations": [[1501, 2.0], [3000, 8.0]]}]
    table = learning_tables.table({("a/b", "CartPole-v1", 3000): seeds})
    assert "| `a/b` | CartPole-v1 | 3,000 | 2 | 3 (1.5), 7 (3) | 3, 3 | 1 | 2.0 |" in table


def test_the_table_of_online_faults_is_that_of_the_results() -> None:
    online_faults = pytest.importorskip("online_faults")
    assert online_faults.fill(
        online_faults.PAGE, online_faults.RESULTS
    ) == online_faults.PAGE.read_text(encoding="utf-8")

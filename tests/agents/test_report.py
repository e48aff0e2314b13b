"""The end of a run and what is seen before it: the curve, the comparison, the display."""

import builtins
import io
import itertools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agents.display import Display
from agents.errors import UsageError
from agents.report import comparison, draw_curve
from agents.statistics import INTERVAL, bootstrap_interval, interquartile_mean

ROOT = Path(__file__).resolve().parents[2]
TRAIN = [(100 * i, float(-1000 + i)) for i in range(30)]
EVALUATIONS = [
    (1000, [-1100.0, -1050.0, -1200.0]),
    (2000, [-700.0, -600.0, -650.0]),
    (3000, [-200.0, -150.0, -180.0]),
]


def test_the_curve_is_a_picture_and_changes_nothing_outside(tmp_path):
    path = tmp_path / "curve.png"
    script = (
        "import sys; from pathlib import Path; from agents.report import draw_curve\n"
        f"draw_curve(Path(sys.argv[1]), train={TRAIN}, evaluations={EVALUATIONS}, random=[-1200.0, "
        f"-1100.0], title='a $ b_')\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script, str(path)], cwd=ROOT, check=True)
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 10_000


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("train", [[], TRAIN[:1]])
@pytest.mark.parametrize("evaluations", [[], EVALUATIONS[:1]])
@pytest.mark.parametrize("random", [[], [-5.0]])
def test_a_run_with_little_in_it(train, evaluations, random, tmp_path):
    draw_curve(tmp_path / "c.png", train=train, evaluations=evaluations, random=random, title="t")
    assert (tmp_path / "c.png").stat().st_size > 1000


def missing(monkeypatch, package):
    whole = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == package:
            raise ModuleNotFoundError(name)
        return whole(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)


def test_a_missing_matplotlib_names_its_extra(tmp_path, monkeypatch):
    missing(monkeypatch, "matplotlib")
    with pytest.raises(UsageError, match="pip install matplotlib"):
        draw_curve(tmp_path / "c.png", train=[], evaluations=[], random=[], title="t")


def test_the_comparison_names_what_it_shows():
    policies = {
        "learned policy": [801.2, 750.0, 812.0, 799.0],
        "sampled policy": [700.0, 720.0],
        "random policy": [21.0],
    }
    head, learned, sampled, random = comparison(policies).split("\n")
    assert (
        head.split("  ")[-1].strip() == "episodes"
        and INTERVAL in head
        and "interquartile mean" in head
    )
    assert re.split(r"  +", learned) == ["learned policy", "790.5", "762.8 to 808.8", "800.1", "4"]
    assert re.split(r"  +", sampled) == ["sampled policy", "710.0", "700.0 to 720.0", "710.0", "2"]
    assert re.split(r"  +", random) == ["random policy", "21.0", "-", "21.0", "1"]
    assert len({len(line) for line in (head, learned, sampled, random)}) == 1


@pytest.mark.filterwarnings("error")
def test_a_run_without_an_evaluation_has_a_report():
    assert re.split(r"  +", comparison({"learned policy": [], "random policy": []}).split("\n")[1])[
        1:
    ] == ["-", "-", "-", "0"]


@pytest.mark.parametrize(
    "numbers", [[1.0, 5.0, 2.0], [0.0, 0.0, 10.0, 3.0], [-1.0, 2.0, 7.0, 100.0, 3.0]]
)
def test_the_interval_is_that_of_all_resamples(numbers):
    """Every resample of few numbers can be written down; the quantiles of their means are the
    bootstrap's, but for its draws.
    """
    means = np.array([np.mean(x) for x in itertools.product(numbers, repeat=len(numbers))])
    low, high = np.sort(means)[[int(0.025 * len(means)), int(0.975 * len(means))]]
    steps = np.diff(np.unique(means.round(9))).max()
    found = bootstrap_interval(numbers)
    assert abs(found[0] - low) <= steps and abs(found[1] - high) <= steps
    assert found == bootstrap_interval(numbers)  # no draw of its own


def test_the_statistics_are_scipys():
    stats = pytest.importorskip("scipy.stats")
    numbers = np.random.default_rng(3).gamma(2.0, 100.0, 40)
    theirs = stats.bootstrap(
        (numbers,), np.mean, method="percentile", n_resamples=20_000, random_state=1
    ).confidence_interval
    assert np.allclose(bootstrap_interval(numbers), theirs, rtol=0.01)
    for count in (1, 2, 3, 4, 5, 10, 11, 40):
        assert np.isclose(
            interquartile_mean(numbers[:count]), stats.trim_mean(numbers[:count], 0.25)
        )


def test_the_band_of_the_curve_is_the_interval_of_the_table_and_says_so(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    seen = {}

    def keep(self, *args, **kwargs):
        (axes,) = self.axes
        seen["words"] = [text.get_text() for text in self.legends[0].get_texts()]
        seen["band"] = axes.collections[0].get_paths()[0].vertices

    monkeypatch.setattr(Figure, "savefig", keep)
    draw_curve(tmp_path / "c.png", train=[], evaluations=EVALUATIONS, random=[-5.0], title="t")
    assert seen["words"] == [f"evaluation: mean, {INTERVAL}", "random policy: mean (-5.0)"]
    for step, returns in EVALUATIONS:
        at = seen["band"][seen["band"][:, 0] == step][:, 1]
        assert np.allclose([at.min(), at.max()], bootstrap_interval(returns))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("agents.display.time.monotonic", lambda: now[0])
    return now


def test_lines_where_there_is_no_terminal(monkeypatch):
    now, stream = clock(monkeypatch), io.StringIO()
    with Display(1000, "task", stream) as progress:
        for second in range(31):
            now[0] = float(second)
            progress.update(
                10 * second, 5 * second, None if second < 5 else -12.345, {"rec": 0.5, "other": 1.0}
            )
        progress.message("[hello]")
        progress.update(1000, 500, 3.0, {})
    lines = stream.getvalue().strip().split("\n")
    assert lines[0] == "task: 0 %, 0/1,000 steps, - left, return -, rec 0.5, 0 updates"
    assert (
        lines[1] == "task: 10 %, 100/1,000 steps, 0:01:30 left, return -12.3, rec 0.5, 50 updates, "
        "10 steps/s, 5 updates/s"
    )
    assert (
        len(lines) == 6
        and lines[4] == "[hello]"
        and lines[5].startswith("task: 100 %, 1,000/1,000")
    )


@pytest.mark.parametrize("rich", [True, False])
def test_a_bar_in_a_terminal_and_lines_without_rich(rich, monkeypatch):
    stream = Terminal()
    for name, value in {"TERM": "xterm", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    if not rich:
        missing(monkeypatch, "rich")
    with Display(100, "task [1]", stream) as progress:
        progress.update(40, 2, 1.0, {"rec": 0.5})
        progress.message("saved in [/tmp/x] [bold]")
        progress.update(100, 5, 2.0, {"rec": 0.25})
    text = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", stream.getvalue())
    assert (
        "task [1]" in text
        and "saved in [/tmp/x] [bold]" in text
        and "rec 0.25" in text
        and "5 updates" in text
    )
    assert ("━" in text) == rich


def test_a_dumb_terminal_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    with Display(100, "task", stream) as progress:
        progress.update(40, 2, 1.0, {})
    assert stream.getvalue() == "task: 40 %, 40/100 steps, - left, return 1.0, 2 updates\n"


FIRST = "━━━━──────── 41 %, 410,000/1,000,000 steps, 0:59:00 left, return -1234.5"
LOSSES = ", rec 12.3, rew 0.123, dyn 1.23, policy 0.00123"


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (80, FIRST),
        (120, FIRST + LOSSES),
        (200, f"{FIRST}{LOSSES}, value 4.5, 12,345 updates, 167 steps/s, 5.75 updates/s"),
    ],
)
def test_progress_comes_first_and_nothing_wraps(columns, shown, monkeypatch):
    for name, value in {"TERM": "xterm", "COLUMNS": str(columns)}.items():
        monkeypatch.setenv(name, value)
    now, stream = clock(monkeypatch), Terminal()
    losses = {"rec": 12.345, "rew": 0.12345, "dyn": 1.2345, "policy": 0.0012345, "value": 4.5}
    with Display(1_000_000, "dm_control/quadruped-escape-v0 seed 12345", stream) as progress:
        progress.update(400_000, 12_000, None, {})
        now[0] = 60.0
        progress.update(410_000, 12_345, -1234.5, losses)
        progress._live.refresh()
    text = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", stream.getvalue())
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", text) if "410,000" in line]
    assert (
        lines
        and set(lines) == {shown}
        and all(len(line) <= columns for line in re.split(r"[\r\n]+", text))
    )


def test_a_run_on_logs_shows_updates(monkeypatch):
    now, stream = clock(monkeypatch), io.StringIO()
    with Display(100, "dmm seed 0", stream, unit="updates") as progress:
        progress.update(10, 10, None, {"loss": 2.0})
        now[0] = 10.0
        progress.update(20, 20, None, {"loss": 1.0})
    assert (
        stream.getvalue().split("\n")[1]
        == "dmm seed 0: 20 %, 20/100 updates, 0:01:20 left, loss 1, 1 updates/s"
    )


def test_what_moves_no_step_is_said(monkeypatch):
    now, stream = clock(monkeypatch), io.StringIO()
    with Display(100, "task", stream) as progress:
        progress.phase("a random policy, 10 episodes", 0)
        for second in (0, 20, 40):
            now[0] = float(second)
            progress.update(20 + second // 40, second, None, {}, due=40 - second)
        progress.phase("an evaluation, 10 episodes", 100)
    assert stream.getvalue().splitlines() == [
        "task: 0 %, a random policy, 10 episodes",
        "task: 20 %, 20/100 steps, 40 updates first, return -, 0 updates",
        "task: 20 %, 20/100 steps, 20 updates first, return -, 20 updates",
        "task: 21 %, 21/100 steps, 0:52:40 left, return -, 40 updates, 0.025 steps/s, 1 updates/s",
        "task: 100 %, an evaluation, 10 episodes",
    ]


def test_a_terminal_that_is_gone_does_not_stop_the_run():
    stream = io.StringIO()
    with Display(10, "task", stream, every=0.0) as progress:
        stream.close()
        progress.update(1, 0, None, {})
        progress.message("text")
    assert stream.closed

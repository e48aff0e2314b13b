"""The end of a run and what is seen before it: the curve, the comparison, the display."""

import builtins
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agents.display import Display
from agents.errors import UsageError
from agents.report import comparison, draw_curve

ROOT = Path(__file__).resolve().parents[2]
TRAIN = [(100 * i, float(-1000 + i)) for i in range(30)]
EVALUATIONS = [(1000, -1100.0, 50.0), (2000, -700.0, 80.0), (3000, -200.0, 20.0)]


def test_the_curve_is_a_picture_and_changes_nothing_outside(tmp_path):
    path = tmp_path / "curve.png"
    script = (
        "import sys; from pathlib import Path; from agents.report import draw_curve\n"
        f"draw_curve(Path(sys.argv[1]), train={TRAIN}, evaluations={EVALUATIONS}, random=-1200.0, title='a $ b_')\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script, str(path)], cwd=ROOT, check=True)
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 10_000


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("train", [[], TRAIN[:1]])
@pytest.mark.parametrize("evaluations", [[], EVALUATIONS[:1]])
@pytest.mark.parametrize("random", [None, -5.0])
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
    with pytest.raises(UsageError, match=r"pip install pixyz-worldmodels\[plots\]"):
        draw_curve(tmp_path / "c.png", train=[], evaluations=[], random=None, title="t")


def test_the_comparison_is_mean_and_standard_error():
    learned, random = [801.2, 750.0, 812.0, 799.0], [30.0, 12.0]
    lines = comparison(learned, random).split("\n")
    error = np.std(learned, ddof=1) / 2
    assert f"{np.mean(learned):.1f} ± {error:.1f}" in lines[1] and lines[1].endswith(" 4")
    assert "21.0 ± 9.0" in lines[2] and len({len(line) for line in lines}) == 1


@pytest.mark.filterwarnings("error")
def test_the_comparison_of_few_has_no_error():
    text = comparison([], [1.0])
    assert "- ± -" in text and "1.0 ± -" in text


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
            progress.update(10 * second, 5 * second, None if second < 5 else -12.345, {"rec": 0.5, "other": 1.0})
        progress.message("[hello]")
        progress.update(1000, 500, 3.0, {})
    lines = stream.getvalue().strip().split("\n")
    assert lines[0] == "task: 0/1,000 steps, 0 updates, return -, rec 0.5"
    assert lines[1] == "task: 100/1,000 steps, 50 updates, return -12.3, rec 0.5, 10 steps/s, 5 updates/s, 0:01:30 left"
    assert len(lines) == 6 and lines[4] == "[hello]" and lines[5].startswith("task: 1,000/1,000")


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
    assert "task [1]" in text and "saved in [/tmp/x] [bold]" in text and "rec 0.25" in text and "5 updates" in text
    assert ("━" in text) == rich


def test_a_dumb_terminal_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    with Display(100, "task", stream) as progress:
        progress.update(40, 2, 1.0, {})
    assert stream.getvalue() == "task: 40/100 steps, 2 updates, return 1.0\n"


def test_a_terminal_that_is_gone_does_not_stop_the_run():
    stream = io.StringIO()
    with Display(10, "task", stream, every=0.0) as progress:
        stream.close()
        progress.update(1, 0, None, {})
        progress.message("text")
    assert stream.closed

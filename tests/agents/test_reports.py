"""report.html and compare: one file with everything in it, numbers that are those of the run,
formulas that are well formed.
"""

import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from agents import reports
from agents.cli import main
from agents.config import to_yaml
from agents.errors import UsageError
from agents.policy import read_settings
from agents.reports import beside, compare, published
from agents.reports import run as of_run
from agents.reports.formula import TOKEN, formula, lines
from agents.run import read_part
from agents.rundir import create_run
from agents.statistics import bootstrap_interval

OPEN = {"meta", "img", "br"}


class Checked(HTMLParser):
    """Every element is closed; nothing is read from outside."""

    def __init__(self):
        super().__init__()
        self.stack, self.words = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in OPEN:
            self.stack.append(tag)
        assert tag not in ("script", "link", "iframe"), tag
        for name, value in attributes:
            assert name not in ("src", "href") or value.startswith("data:image/"), (tag, name)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(path):
    page = Checked()
    page.feed(path.read_text(encoding="utf-8"))
    assert not page.stack
    return " ".join(" ".join(page.words).split())


def test_a_run_ends_with_a_report_of_its_own_numbers(trained, capsys):
    assert (trained / "report.html").is_file(), "written at the end of the run"
    assert main(["report", str(trained)]) == 0
    assert capsys.readouterr().out.strip() == str(trained / "report.html")
    text, progress = read(trained / "report.html"), read_part(trained, "progress")[1]
    assert (
        f"{progress['updates']:,}" in text
        and f"{np.mean(progress['evaluations'][-1][1]):,.1f}" in text
    )
    further = 2 * read_settings(trained).steps
    assert "steps" in text and f"pixyz resume {trained} steps={further} pixyz" in text
    assert "--video a.gif" in text, "an mp4 needs more than what README installs"
    assert "agent.batch" in text and "agent.lam" not in text, "only settings that differ"
    raw = (trained / "report.html").read_text()
    assert raw.count("data:image/png;base64,") >= 1 and raw.count("<math") > 3


@pytest.mark.parametrize("old", [b"of an earlier end", None])
def test_the_curve_is_of_the_newest_checkpoint_and_not_of_the_last_end(
    old, trained, tmp_path, monkeypatch
):
    """A run that went on and was stopped has an old picture, one that never ended has none."""
    run, seen, draw = tmp_path / "run", {}, of_run.curve
    shutil.copytree(trained, run)
    (run / "curve.png").unlink()
    if old:
        (run / "curve.png").write_bytes(old)
    monkeypatch.setattr(of_run, "curve", lambda **given: seen.update(given) or draw(**given))
    page = reports.write_report(run).read_text()
    assert 'alt="returns over environment steps" src="data:image/png;base64,iVBORw0' in page
    progress = read_part(run, "progress")[1]
    assert seen["evaluations"] == progress["evaluations"] and seen["train"] == progress["returns"]
    progress |= {"returns": [], "evaluations": []}
    assert of_run._curve(progress, "nothing yet") == ""


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (r"\mathbb{E}_{q(z|x)} \left[\log p(x|z) - D_{KL} \left[q(z|x)||p(z) \right]\right]", 4),
        (r"\frac{1}{2} \bar{q} + \underline{Q}^{slow}_{t} - 1.5e-3 \cdot \unknown", 3),
        (r"\left\{x \right.", 1),
        ("", 0),
        (r"{{{ }", 1),
        (r"\bar", 1),
    ],
)
def test_formulas_are_well_formed_and_lose_nothing(text, count):
    found = formula(text)
    tree = ET.fromstring(f"<div>{found}</div>")
    assert len(tree) == count
    tokens = TOKEN.findall(text)
    assert [t for _, line in lines(tokens) for t in line] == tokens
    for number in re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?", text):
        assert number in "".join(tree.itertext())


def test_long_formulas_are_broken_at_their_brackets():
    inner = " + ".join(rf"\log p(x_{{{i}}}|z)" for i in range(6))
    found = list(lines(TOKEN.findall(rf"\mathbb{{E}}_{{q}} \left[{inner} \right] - 1.0")))
    assert [depth for depth, _ in found] == [0, *[1] * 6, 0, 0]
    assert (
        found[0][1][-1] == "\\left["
        and found[-2][1] == ["\\right]"]
        and found[-1][1] == ["-", "1.0"]
    )


# ---------------------------------------------------------------- beside each other


@pytest.fixture
def runs(tmp_path, trained, monkeypatch):
    """Three runs: two seeds of one setting and another setting,
    with evaluations of known numbers.
    """
    settings = read_settings(trained)
    settings = replace(settings, env=replace(settings.env, id="dm_control/walker-walk-v0"))
    other = replace(settings, agent=replace(settings.agent, lr=2e-3))
    spent = {
        "steps": 100_000,
        "actions": 50_000,
        "updates": 400,
        "cpu_seconds": 90.0,
        "random": [40.0],
    }
    made = {}
    for name, config, seed, level in (
        ("a0", settings, 0, 100.0),
        ("a1", settings, 1, 300.0),
        ("b0", other, 0, 50.0),
    ):
        create_run(tmp_path / name, replace(config, seed=seed), seed=seed)
        evaluations = [
            (at, [level + at / 1000 + i for i in range(4)])
            for at in (25_000, 50_000, 75_000, 100_000)
        ]
        made[tmp_path / name] = {**spent, "evaluations": evaluations}
    monkeypatch.setattr(beside, "read_part", lambda run, part: (0, made[run]))
    return list(made), made


def test_seeds_are_one_line_and_settings_tell_runs_apart(runs, tmp_path):
    folders, _ = runs
    text = compare(folders, tmp_path / "c.html")
    head, first, second = text.split("\n")
    assert re.split(r"\s{2,}", first)[:2] == ["lr=0.001 (a0, a1)", "dm_control/walker-walk-v0"]
    assert second.startswith("lr=0.002 (b0)")
    scores = [level + np.mean([50, 75, 100]) + 1.5 for level in (100.0, 300.0)]
    low, high = bootstrap_interval(scores)
    assert (
        f"{np.mean(scores):,.1f}" in first
        and f"{low:,.1f} to {high:,.1f}" in first
        and first.endswith("2 seeds")
    )
    assert (
        second.endswith("12 episodes")
        and f"{50 + 75 + 1.5:,.1f}" in second
        and "100,000" in second
        and "1.5" in second
    )
    assert [c.strip() for c in re.split(r"\s{2,}", head)] == beside.HEAD
    page = read(tmp_path / "c.html")
    assert "DreamerV3, published: 5 seeds" in page and "TD-MPC2" in page
    assert "mean of a run's last 3 evaluations;" in page
    compare(folders, tmp_path / "plain.html", published=False)
    assert "published" not in read(tmp_path / "plain.html")


def test_a_score_of_fewer_evaluations_says_so(runs, tmp_path):
    folders, made = runs
    made[folders[0]]["evaluations"] = made[folders[0]]["evaluations"][:2]
    compare(folders[:1], tmp_path / "c.html", published=False)
    assert "mean of a run's 2 evaluations;" in read(tmp_path / "c.html")
    compare(folders, tmp_path / "c.html", published=False)
    assert "mean of a run's last 3 evaluations (a0 has 2);" in read(tmp_path / "c.html")


def test_runs_of_one_name_are_told_by_their_paths(runs, tmp_path, monkeypatch):
    folders, made = runs
    other = tmp_path / "other" / "a0"
    create_run(other, read_settings(folders[2]), seed=0)
    made[other] = made[folders[2]]
    text = compare([folders[0], other])
    assert str(folders[0]) in text and str(other) in text


def test_a_curve_has_the_evaluations_that_all_seeds_have(runs):
    folders, made = runs
    made[folders[0]]["evaluations"] = made[folders[0]]["evaluations"][:3]
    [group, _] = beside.grouped(folders)
    at, mean, low, high = beside._line(group)
    assert at == [25_000, 50_000, 75_000] and mean[0] == 200 + 25 + 1.5
    assert all(a <= m <= b for a, m, b in zip(low, mean, high, strict=True)) and low[0] < high[0]


def test_runs_that_went_further_are_another_line(runs):
    """A resumed run has the settings that it began with."""
    folders, made = runs
    config = read_settings(folders[0])
    for folder, seed, steps in zip(folders, (0, 1, 2), (400, 780, 402), strict=True):
        wide = replace(config, seed=seed, steps=steps, env=replace(config.env, num_envs=4))
        (folder / "config.yaml").write_text(to_yaml(wide))
        made[folder] = {**made[folder], "steps": steps}
    [few, more] = beside.grouped(folders)
    assert [m.folder for m in few] == ["a0", "b0"] and [m.folder for m in more] == ["a1"]
    assert [g[0].label.split()[-1] for g in (few, more)] == ["frames=400", "frames=780"]


def test_a_seed_counts_once(runs, tmp_path):
    folders, made = runs
    with pytest.raises(UsageError, match=r"each run once, got .*a0 twice"):
        beside.grouped([folders[0], folders[1], tmp_path / "a1" / ".." / "a0"])
    copied = tmp_path / "copied"
    create_run(copied, read_settings(folders[0]), seed=0)
    made[copied] = made[folders[0]]
    text = compare([folders[0], copied]).split("\n")
    assert [line.split()[1] for line in text[1:3]] == ["(a0)", "(copied)"]
    assert all(line.endswith("12 episodes") for line in text[1:3])
    assert text[3].endswith("a0 and copied have one seed, 0, too; so each of its runs is a line.")
    assert [len(g) for g in beside.grouped([*folders[:2], copied])] == [1, 1, 1]


def test_a_run_that_started_from_another_is_another_line(runs):
    folders, _ = runs
    config = read_settings(folders[0])
    for seed, (folder, start) in enumerate(zip(folders, (None, "pre/a", "pre/b"), strict=True)):
        (folder / "config.yaml").write_text(to_yaml(replace(config, seed=seed, start=start)))
    [scratch, started] = beside.grouped(folders)
    assert [m.folder for m in started] == ["a1", "b0"] and started[0].label == "start=given"
    assert scratch[0].label == "start=None"


def test_what_a_curve_leaves_out_is_said(runs, tmp_path):
    folders, made = runs
    made[folders[0]]["evaluations"] = made[folders[0]]["evaluations"][:3]
    told = "lr=0.001: its curve is of the 3 evaluations that all of its runs have, and leaves out"
    told += " those of a1 at 100,000 frames."
    assert compare(folders, tmp_path / "c.html").endswith(f"\n{told}")
    assert told in read(tmp_path / "c.html") and told not in compare(folders)


def test_evaluations_of_one_due_frame_are_one_point(runs):
    """With several environments, or repeats that an end cuts short, seeds are judged some frames
    apart.
    """
    folders, made = runs
    settings = read_settings(folders[0])
    wide = replace(settings, env=replace(settings.env, num_envs=2, action_repeat=2))
    frames = [101, 200, 303, 402, 501, 601], [101, 200, 302, 400, 503, 602]
    for seed, (folder, own) in enumerate(zip(folders, frames, strict=False)):
        (folder / "config.yaml").write_text(to_yaml(replace(wide, seed=seed)))
        made[folder]["evaluations"] = [(at, [float(at)]) for at in own]
    [group] = beside.grouped(folders[:2])
    at, mean, _, _ = beside._line(group)
    assert at == [101, 200, 302, 401, 502, 602] and mean[2] == 302.5
    assert not beside.left_out(group)
    del made[folders[1]]["evaluations"][3]
    [group] = beside.grouped(folders[:2])
    assert beside._line(group)[0] == [101, 200, 302, 502, 602]
    assert "a0 at 402 frames" in beside.left_out(group)


def test_what_cannot_be_compared_is_refused(runs, trained, capsys, tmp_path, monkeypatch):
    folders, made = runs
    made[folders[2]]["evaluations"] = []
    with pytest.raises(UsageError, match=r"b0: expected a run with an evaluation.*pixyz resume"):
        compare(folders)
    with pytest.raises(UsageError, match="at least one run"):
        compare([])
    monkeypatch.chdir(tmp_path)
    assert main(["compare", str(folders[0]), str(folders[1])]) == 0
    assert (
        "curves: compare.html" in capsys.readouterr().out and (tmp_path / "compare.html").is_file()
    )
    assert main(["compare", str(tmp_path / "none")]) == 2


def test_published_numbers_are_of_tasks_that_are_there():
    assert not published.beside("Pendulum-v1") and not published.beside(
        "dm_control/humanoid-run-v0"
    )
    for curve in published.CURVES:
        for task, points in curve.returns.items():
            assert re.fullmatch(r"[a-z_]+-[a-z]+", task) and all(
                0 <= v <= 1000 for v in points.values()
            )
            assert list(points) == sorted(points)
    seven = (
        "cartpole-balance cartpole-swingup reacher-easy finger-spin "
        "pendulum-swingup walker-stand walker-walk"
    )
    mean = np.mean([published.DREAMER_V3.returns[t][100_000] for t in seven.split()])
    assert round(mean) == 682, "the mean over seven tasks that was published"


def test_a_report_that_fails_does_not_fail_the_run(trained, monkeypatch, capsys):
    from agents import runs as of_runs

    monkeypatch.setattr(
        of_runs, "write_report", lambda directory: (_ for _ in ()).throw(OSError("no space left"))
    )
    of_runs._write_page(trained)
    assert capsys.readouterr().out == "no report: no space left\n"
    assert reports.write_report is of_run.write_report

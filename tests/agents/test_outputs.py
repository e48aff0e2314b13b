"""Files and folders that a command writes at its end are refused before its work."""

import os
from pathlib import Path

import pytest

from agents.cli import main
from agents.errors import UsageError
from agents.export import read, whole
from agents.outputs import check_file, check_folder
from agents.reports import beside
from agents.reports.page import Page
from agents.run import Judge

PROC = [pytest.param("/proc/x", marks=pytest.mark.skipif(os.name != "posix", reason="no /proc"))]


@pytest.mark.parametrize("name", ["nowhere/x", ".", "file/x", *PROC])
@pytest.mark.parametrize(
    "command", [["compare", "--html"], ["export", "--to", "torch", "--out"]], ids=lambda c: c[0]
)
def test_a_file_that_cannot_be_written_is_refused_first(
    command, name, trained, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    monkeypatch.setattr(beside, "grouped", lambda runs: pytest.fail("they were read first"))
    monkeypatch.setattr(whole, "read_part", lambda *a: pytest.fail("it was read first"))
    assert main([command[0], str(trained), *command[1:], name]) == 2
    text = capfd.readouterr().err
    assert text.startswith(f"pixyz: {command[-1]}: ") and name in text and text.count("\n") == 1


@pytest.mark.parametrize("name", ["file", "file/x", *PROC])
def test_a_folder_that_cannot_be_made_is_refused_first(
    name, trained, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    monkeypatch.setattr(Judge, "actor", lambda *a, **k: pytest.fail("it was acted first"))
    assert main(["openloop", str(trained), "--out", name]) == 2
    text = capsys.readouterr().err
    assert text.startswith("pixyz: --out: ") and name in text and text.count("\n") == 1


def test_what_can_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    (tmp_path / "there").touch()
    for name in ("there", "new"):
        check_file(tmp_path / name, "--out")
    check_folder(tmp_path / "new" / "folder", "--out")
    assert [p.name for p in tmp_path.iterdir()] == ["there"]
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match="there: it may not be written to"):
        check_file(tmp_path / "there", "--out")


def test_a_page_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(UsageError, match=r"cannot write .*: Is a directory"):
        Page("a run").write(tmp_path)


def test_a_file_may_have_any_ending(trained, tmp_path, capfd):
    path = tmp_path / "policy.bin"
    assert main(["export", str(trained), "--to", "torch", "--out", str(path)]) == 0
    assert read(path, "torch")[0].exported == "policy"
    assert not capfd.readouterr().err and [p.name for p in tmp_path.iterdir()] == [path.name]

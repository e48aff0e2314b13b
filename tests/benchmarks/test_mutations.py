"""The list of small faults, and the script that tries them, on a tree of two files."""

import pytest
from mutations import FOLDERS, ROOT, Fault, broken, faults, run_tests

SOUND = "def double(x):\n    return 2 * x\n"
TEST = "from sums import double\n\n\ndef test_double():\n    assert double(2) == 4\n"


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "sums.py").write_text(SOUND)
    (tmp_path / "test_sums.py").write_text(TEST)
    return tmp_path


def fault(old="2 * x", new="3 * x", **more):
    given = {
        "name": "F",
        "what": "",
        "file": "sums.py",
        "old": old,
        "new": new,
        "tests": ("test_sums.py",),
    }
    return Fault(**{**given, **more})


def test_every_fault_has_a_name_of_its_own_and_changes_something():
    listed = faults(FOLDERS)
    assert len({f.name for f in listed}) == len(listed)
    for f in listed:
        assert f.old and f.old != f.new and f.what and f.tests and f.file.endswith(".py"), f.name


def test_every_fault_has_its_place():
    """A list of faults whose texts are gone would be one that nobody runs."""
    assert [f"{f.name}: {why}" for f in faults(FOLDERS) if (why := f.stale(ROOT))] == []


@pytest.mark.parametrize(
    ("new", "outcome"), [("3 * x", "caught"), ("x ** 2", "survived"), ("2 * x)", "broken")]
)
def test_what_a_fault_comes_to(tree, new, outcome):
    with broken(fault(new=new), tree):
        found = run_tests(tree, ["test_sums.py"], 60)
    assert found["outcome"] == outcome and found["seconds"] > 0
    assert found["by"] == ("test_sums.py::test_double" if outcome == "caught" else found["by"])
    assert (tree / "sums.py").read_text() == SOUND
    assert run_tests(tree, ["test_sums.py"], 60)["outcome"] == "survived"


def test_a_test_that_hangs_is_a_fault_that_is_seen(tree):
    with broken(fault(), tree):
        (tree / "test_sums.py").write_text(
            "import time\n\n\ndef test_wait():\n    time.sleep(60)\n"
        )
        assert run_tests(tree, ["test_sums.py"], 3)["outcome"] == "caught"


def test_a_fault_without_a_place_is_stale(tree):
    assert fault().stale(tree) == ""
    assert "0 times" in fault(old="4 * x").stale(tree)
    assert "2 times" in fault(old="x").stale(tree)
    assert "not there" in fault(file="gone.py").stale(tree)
    assert "not there" in fault(tests=("test_gone.py",)).stale(tree)

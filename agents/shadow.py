"""A folder of the user's that hides one of ours: one line that says so, in place of a name that
cannot be imported.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
NEIGHBOURS = ("pixyz", "worldmodels", "envs")


class Hidden(ImportError):
    """A package of this library cannot be imported,
    since another folder of its name comes first.
    """


def check_neighbours(names: Iterable[str] = NEIGHBOURS, here: Path = HERE) -> None:
    """See that the packages of this library are those beside this one.

    Raises:
        Hidden: names the folder that hides one.
    """
    for name in names:
        places = _places(name)
        if places and (here / name).is_dir() and here / name not in places:
            raise Hidden(
                f"{places[0]} hides the package {name} of pixyz-worldmodels: rename it, "
                f"or start elsewhere",
                name=name,
            )


def hidden_by_us(text: str) -> str:
    """What to add to an error about a module that is missing in a package of ours: the folder of
    the user's was meant.
    """
    for name in (*NEIGHBOURS, "agents"):
        if (
            f"No module named '{name}." in text
            and Path(name).is_dir()
            and Path(name).resolve() != HERE / name
        ):
            return (
                f"; the folder {name}/ here is hidden by the package {name} "
                f"of pixyz-worldmodels: rename it"
            )
    return ""


def _places(name: str) -> list[Path]:
    try:
        spec = find_spec(name)
    except ValueError:  # imported by hand, without a specification
        return []
    return (
        [Path(place).resolve() for place in (spec.submodule_search_locations or ())] if spec else []
    )

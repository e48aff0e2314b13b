"""Where the command ``pixyz`` begins: a module whose name no folder of a user's has, so that it can
say what hides ours.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

PACKAGES = {"yaml": "pyyaml", "rich": "rich", "gymnasium": "gymnasium"}
"""What the command imports beyond the library's own needs: module -> package."""


def main() -> int:
    """Run the command; 2 if a folder hides the packages that it is made of, or one of the extra
    ``train`` is missing.
    """
    here = Path(__file__).resolve().parent
    spec = find_spec("agents")
    places = (
        [Path(place).resolve() for place in spec.submodule_search_locations or ()] if spec else []
    )
    if here / "agents" not in places:
        found = places[0] if places else "nothing"
        print(
            f"pixyz: {found} hides the package agents of pixyz-worldmodels: rename it, "
            f"or start elsewhere",
            file=sys.stderr,
        )
        return 2
    try:
        command = import_module("agents.doctor" if sys.argv[1:] == ["doctor"] else "agents.cli")
    except ImportError as error:
        package = PACKAGES.get((error.name or "").partition(".")[0])
        if package is not None:
            said = (
                f"the command needs {package}, which is not installed: pip install {package}; "
                f"pixyz doctor shows the rest"
            )
        elif type(error).__name__ == "Hidden":
            said = str(error)
        else:
            raise
        print(f"pixyz: {said}", file=sys.stderr)
        return 2
    code: int = command.main()
    return code


if __name__ == "__main__":
    sys.exit(main())

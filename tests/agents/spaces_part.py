"""Where agents keep what they see of an environment; tests take it from here."""

from pathlib import Path

import agents

# by the file: an import that fails may be answered by another copy of the library that is installed
if Path(agents.__file__).with_name("spaces.py").exists():
    from agents.spaces import Interface
else:
    from agents.interface import Interface

__all__ = ["Interface"]

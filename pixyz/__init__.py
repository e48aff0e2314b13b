"""Pixyz: distributions you multiply, objectives you add up, models you train.

Write the paper's equation; the library turns it into a fast program.  After Suzuki, Kaneko and
Matsuo, "Pixyz: a Python library for developing deep generative models", Advanced Robotics 2023.
"""

from pixyz import wings
from pixyz.debugging import debug
from pixyz.types import PixyzError, ShapeError, VariableError

__version__ = "0.4.0"

__all__ = ["PixyzError", "ShapeError", "VariableError", "__version__", "debug"]

wings.open_wings()
wings.complete(__name__)

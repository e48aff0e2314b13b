"""A figure of matplotlib that knows no screen; or one line that says what to install."""

from __future__ import annotations

from typing import Any

from agents.errors import UsageError


def new_figure(what: str = "the report") -> Any:
    """An empty figure, to be saved.

    Raises:
        UsageError: matplotlib is not installed.

    >>> new_figure().axes
    []
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(
            f"{what} is drawn with matplotlib, which is not installed: pip install matplotlib"
        ) from None
    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    return figure

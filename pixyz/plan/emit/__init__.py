"""A graph is written as the text of a Python function.

::

    names     names of values and of what is called
    lines     lines and the places where they are written
    page      under which name and in which shape a slot is known
    kinds     how each kind of step is written; nets, noise, loops, rows: those that take more
    emitter   the text
"""

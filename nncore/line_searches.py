"""Line searches: how far a trainer goes along a direction.

Each is an object that is called with a `Line` and a first step, and returns the `Trial` that it
accepts, or None if no step is good: then the direction leads nowhere within the rounding error of
the loss.

>>> import numpy as np
>>> from nncore import line_searches
>>> def bowl(x):
...     return float(x @ x), 2 * x
>>> line = line_searches.line(bowl, np.array([3.0, 4.0]), np.array([-3.0, -4.0]))
>>> line_searches.StrongWolfe(c2=0.1)(line, 0.25).step
1.0
"""

from .trainers.line_search import (
    Backtracking,
    HagerZhang,
    Line,
    LineSearch,
    StrongWolfe,
    Trial,
    line,
)

__all__ = ["Backtracking", "HagerZhang", "Line", "LineSearch", "StrongWolfe", "Trial", "line"]

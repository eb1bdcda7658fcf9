"""Whether a trace equals what the C engine computes."""

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .trace import Trace


class Verification:
    """What `Trace.verify` found. True if nothing that was compared differs.

    Attributes
    ----------
    gradient : bool
        Whether the gradient of the trace equals the engine's in every bit.
    update : bool or None
        Whether the updated parameters do; None if there is nothing to compare.
    difference : float
        The largest difference of any two numbers, 0.0 if all are equal.
    """

    def __init__(self, trace: "Trace", gradient: np.ndarray, theta: np.ndarray | None) -> None:
        self.difference = 0.0
        self.gradient, said = self._compare("gradient", trace.gradient, gradient)
        self._lines = [said]
        self.update: bool | None = None
        if theta is not None and trace.new_theta is not None:
            self.update, said = self._compare("update", trace.new_theta, theta)
        else:
            said = "update: done by the engine itself, so there is nothing to compare: "
            said += "; ".join(trace.beyond)
        self._lines.append(said)

    def _compare(self, what: str, ours: np.ndarray, engines: np.ndarray) -> tuple[bool, str]:
        kind = f"i{ours.dtype.itemsize}"
        differ = np.count_nonzero(ours.view(kind) != engines.view(kind))
        if not differ:
            equal = f"all {ours.size:,} numbers equal those" if ours.size > 1 else "it equals that"
            return True, f"{what}: {equal} of the C engine, bit for bit"
        most = float(np.abs(ours - engines).max())
        self.difference = max(self.difference, most)
        return False, (
            f"{what}: {differ:,} of {ours.size:,} numbers differ from those of the C engine, by at "
            f"most {most:.2g}"
        )

    def __bool__(self) -> bool:
        return self.gradient and self.update is not False

    def __str__(self) -> str:
        return "\n".join(self._lines)

    def __repr__(self) -> str:
        return f"<Verification: gradient={self.gradient}, update={self.update}>"

"""Looking at a network: one step taken apart. Nothing of training imports what is here."""

from __future__ import annotations


class Views:
    """The methods of `Network` that show what it does and how it learns; none changes it."""

    def trace(self, x, y, *, weights=()):
        """Take one gradient step apart: every z, a, f'(z), delta and gradient, with their formulas.

        Everything is computed again in Python, one operation after the other in the engine's
        canonical order, so that `Trace.verify` can hold it against the C engine bit by bit. The
        network is copied first: it stays as it is, and the trace as it was.

        Parameters
        ----------
        x : array_like, shape (n_in,) or (n_rows, n_in)
            One pattern, or a few: at most 32.
        y : array_like
            The target of the one pattern, or targets as in `fit`.
        weights : sequence of str or tuple, optional
            Weights whose chain rule is printed with the trace, as `Trace.weight` takes them:
            ``["w14", (0, 2, 1)]``.

        Returns
        -------
        nncore.views.trace.Trace
            Print it, or look at it in a notebook, where the network is drawn.

        Raises
        ------
        ValueError
            With more than 32 patterns, or more than 25 million products of patterns and parameters.
        FloatingPointError
            If an output, the loss or a gradient is not finite.

        Notes
        -----
        Values and gradients are those of `loss_and_gradient`: nothing is dropped, no noise is
        added, and `BatchNorm` uses its running statistics. All kinds of layers are traced. Factor
        by factor shown are weights and biases of `Dense`; the other layers stand in their products
        with their derivatives.

        The work is that of emulating fused multiply-adds: 784-512-512-10 takes about a second.

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(
        ...     2, nncore.Dense(1, "sigmoid", init=[[0.5], [-0.25]]), loss="half_mse",
        ...     optimizer=nncore.SGD(0.1), dtype="float64")
        >>> trace = net.trace([1.0, 2.0], 1.0)
        >>> print(trace.weight("w13"))
        w13 = 0.5: weight from x1 to unit 3, layer 0
        dJ/dw13 = (h - y) f'(z3) x1
                = -0.5 * 0.25 * 1
                = -0.125
          factor   number  what it is
          (h - y)    -0.5  slope of half_mse at the output
          f'(z3)     0.25  slope of sigmoid at z3 = 0: a (1 - a), a = 0.5
          x1            1  input 1
        new w13 = old + rate * delta * f'(e) * input, with e = z3 and delta = -dJ/dh
                = 0.5 + 0.1 * 0.5 * 0.25 * 1
                = 0.5125
        >>> print(trace.verify())
        gradient: all 3 numbers equal those of the C engine, bit for bit
        update: all 3 numbers equal those of the C engine, bit for bit
        """
        from .trace import as_patterns, trace

        x, y, _ = self._samples(*as_patterns(self, x, y))  # here: warnings name who called this
        return trace(self, x, y, weights)

"""Ways to look at a network and its training; nothing that trains imports them."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..network import Network
    from .diagnosing.diagnosis import Diagnosis
    from .tracing.trace import Trace


class Views:
    """The methods of `Network` that look at it; none of them changes it."""

    # self is the whole Network, which a mixin has no type for: Any

    def trace(
        self: Any, x: "ArrayLike", y: "ArrayLike", *,
        weights: str | tuple[Any, ...] | Sequence[str | tuple[Any, ...]] = (),
    ) -> "Trace":  # fmt: skip
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
        nncore.views.tracing.trace.Trace
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
        from .tracing.trace import as_patterns, trace

        x, y, _ = self._samples(*as_patterns(self, x, y))  # here: warnings name who called this
        return trace(self, x, y, weights)

    def diagnose(
        self: Any, X: "ArrayLike", y: "ArrayLike", *, sample_weight: "ArrayLike | None" = None,
        class_weight: Any = None, batch_size: int | str = 32, rows: int = 2000, seed: int = 0,
    ) -> "Diagnosis":  # fmt: skip
        """Look for what keeps this network from learning these data.

        Parameters
        ----------
        X : array_like, shape (n_rows, n_in)
            As in `fit`, but NaN and infinities are findings, not errors.
        y : array_like
            As in `fit`, likewise.
        sample_weight, class_weight : optional
            As in `fit`: what is diagnosed is the training with them.
        batch_size : int or "full", default 32
            Rows of the one update that is tried, on a copy of the network; "full": all that are
            looked at.
        rows : int, default 2000
            The most rows that go through the network and whose columns are looked at, drawn with
            `seed` where there are more. NaN, infinities, targets out of range and the counts of
            classes are looked for in all rows.
        seed : int, default 0
            Of that draw; the network's own random state is not touched.

        Returns
        -------
        Diagnosis
            Its findings can be iterated over; each has a ``code``, numbers as evidence, and advice.
            Printed it is a report. ``diagnosis.layers`` has the numbers of each layer.

        Raises
        ------
        ValueError
            As `fit`, for shapes and labels that do not fit the network.

        Notes
        -----
        f' is the slope of the activation as training computes it, at the network's present
        parameters; gradients are those of `loss_and_gradient`: no layer draws random numbers. Of
        rows that are all the same, or one, f' and sizes of gradients are not judged. The codes:

        ===================== ======================================================================
        nan_inputs            X has NaN, infinities, or numbers beyond the range of the dtype
        nan_targets           y has
        nan_parameters        the network's parameters have: nothing else of it can be told
        loss_not_finite       the loss is NaN or infinite
        nothing_trained       no layer is trainable
        constant_inputs       the rows of X are all the same
        constant_targets      the rows of y are: all numbers are equal, or there is one class
        unscaled_inputs       a column of X has a root mean square above 10, all are below 0.01, or
                              the standard deviation of one is over 100 times the median's
        constant_columns      columns of X have the same number, not 0, in all rows
        duplicate_columns     columns of X are equal to others
        unscaled_targets      targets of a regression have a root mean square above 10 or below 0.01
        targets_out_of_range  targets that the output activation cannot give
        missing_classes       classes have no row with a weight above 0
        imbalanced_labels     the most frequent class has over 10 times the weight of the rarest
        linear                there are hidden layers, and the network can only do what one layer
                              does
        constant_derivative   f' of a hidden layer is the same number, within 1 %, for all rows in
                              90 % of its units: on these data it is linear
        symmetric_units       90 % of a hidden layer's units have the weights and the gradient of
                              others, so that they stay equal
        saturated             in a quarter of a layer's units mean abs(f') is below 5 % of the
                              steepest slope of the activation, but not 0
        dead_units            in a quarter of a layer's units f' is 0 for all rows
        vanishing_gradient    the gradient of the first `Dense` layer is less than 1/1000 of the
                              last one's, by their norms
        exploding_gradient    it is more than 100 times that
        large_updates         an update moves a layer by more than a fifth of its norm
        small_updates         an update moves no layer by more than 1/100,000 of its norm, while the
                              loss would change with larger ones
        ===================== ======================================================================

        Examples
        --------
        >>> import nncore
        >>> X, y = nncore.datasets.load_digits()
        >>> net = nncore.Network(
        ...     64, nncore.Dense(32, "tanh"), nncore.Dense(10, "softmax"), seed=0)
        >>> net.layers[0].W *= 100
        >>> diagnosis = net.diagnose(X / 16, y)
        >>> for finding in diagnosis:
        ...     print(finding.code, finding.layer)
        saturated layers[0]
        >>> variances = net.lsuv(X[:500] / 16)  # as the advice says
        >>> len(net.diagnose(X / 16, y))
        0
        """
        from .diagnosing.diagnosis import diagnose

        return diagnose(self, X, y, sample_weight, class_weight, batch_size, rows, seed)

    def with_classes(self: Any, n_classes: int, *, init: Any = None) -> "Network":
        """Return a network with more classes, which goes on learning where this one is.

        The classes that are there keep their weights and the optimizer its state, bit for bit; the
        outputs of new ones are behind them. For labels that appear while a stream is learned::

            if label >= net.n_out:
                net = net.with_classes(label + 1)
            net.learn_one(x, label)

        Where the number of classes is known from the start, make a network with as many outputs:
        labels of some of them may come later.

        Parameters
        ----------
        n_classes : int
            All classes, with those that are there.
        init : str, Initializer, function or array_like, optional
            Starting weights of the new outputs, as `Dense` takes them, of which an array has the
            shape (n inputs of the last layer, n new classes). By default those of a new `Dense`.

        Returns
        -------
        Network
            A new one, of the same type; this network stays as it is. The optimizer's state of the
            new weights is zero, as at the start, but the number of updates goes on: a rule that
            corrects for its start, such as Adam's, takes somewhat longer first steps there. A
            full-batch trainer starts afresh.

        Raises
        ------
        ValueError
            If the last layer is not `Dense`, or `n_classes` is not more than there are.

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(2, nncore.Dense(2, "softmax"), seed=0)
        >>> loss = net.learn_one([0.5, 1.0], 1)
        >>> wide = net.with_classes(3)
        >>> (wide.layers[0].W[:, :2] == net.layers[0].W).all()
        np.True_
        >>> loss = wide.learn_one([-0.5, 1.0], 2)
        """
        from .wider import with_classes

        return with_classes(self, n_classes, init)

    def collapse(self: Any) -> "Network":
        """Return a network in which each `Dense` layer with "identity" is folded into the next.

        A `Dense` layer without an activation hands on a linear function of its inputs, so it and
        the `Dense` layer behind it, with any activation f, are one: ``f((x W1 + b1) W2 + b2) =
        f(x W + b)`` with ``W = W1 W2`` and ``b = b1 W2 + b2``. Also within a `Residual`. Layers
        with something else between them stay: `Dropout` has no effect on predictions, but on
        training it has.

        Returns
        -------
        Network
            A new one of the same type, loss, dtype and backend, with an optimizer that starts
            afresh; this network stays as it is. Where there is nothing to fold, its layers are
            equal to this one's. A folded layer is trainable and has the ``lr_scale`` that both had.

        Raises
        ------
        ValueError
            If two layers that would be one differ in ``trainable`` or ``lr_scale``, or if one has
            ``l1``, ``l2`` or ``max_norm``: those are of a matrix that would be no more, and another
            loss would be trained. The message says what to set. Also if W is not finite in the
            network's dtype.

        Notes
        -----
        W and b are computed in float64 and rounded once. With unit roundoff u (2^-24 in float32,
        2^-53 in float64) and ``gamma(k) = k u / (1 - k u)`` (Higham 2002, "Accuracy and Stability
        of Numerical Algorithms", (3.5)), folding k layers with n_0 inputs and n_1, ..., n_k outputs
        changes each ``z = x W + b`` by at most ``gamma(2 (n_0 + ... + n_(k-1) + k + 1)) s``, where
        s is what the layers give for abs(x), with abs(W) and abs(b).

        A narrow layer keeps W from having any rank: 100 -> 2 -> 100 folds to more parameters, which
        training can then use as it likes.

        Examples
        --------
        >>> import nncore
        >>> net = nncore.Network(
        ...     4, nncore.Dense(5, "tanh"), nncore.Dense(3), nncore.Dense(2), seed=0)
        >>> net.collapse().layers
        (Dense(5, 'tanh'), Dense(2, 'identity'))
        >>> x = [[0.1, 0.2, 0.3, 0.4]]
        >>> bool(abs(net.collapse().predict(x) - net.predict(x)).max() < 1e-6)
        True
        """
        from .collapse import collapse

        return collapse(self)

"""A program that uses nncore as programs do, and holds the types of what it gets.

`test_typing.py` runs it, and lets mypy look at it.
"""

import tempfile
from pathlib import Path
from typing import Any, assert_type

import numpy as np

import nncore
from nncore import Dense, History, Network, schedules
from nncore.callbacks import EarlyStopping, ReduceLROnPlateau


class Best(nncore.Callback):
    """Keeps the lowest loss."""

    loss = float("inf")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.loss = min(self.loss, logs["loss"])


def rosenbrock(x: np.ndarray) -> tuple[float, np.ndarray]:
    a, b = 1 - x[0], x[1] - x[0] ** 2
    return float(a**2 + 100 * b**2), np.array([-2 * a - 400 * x[0] * b, 200 * b])


def train(X: np.ndarray, y: np.ndarray) -> Network:
    """Digits: training with callbacks and validation; what comes back, and goes to a file."""
    net = Network(
        64, nncore.Scaling(), Dense(32, "relu", l2=1e-4), nncore.Dropout(0.1),
        Dense(10, "softmax"), optimizer=nncore.AdamW(schedules.Cosine(0.01, steps=900)), seed=0,
    )  # fmt: skip
    best = Best()
    history = net.fit(
        X, y, epochs=20, validation_split=0.2, metrics=["f1", nncore.metrics.accuracy],
        callbacks=[best, EarlyStopping(patience=4, restore_best_weights=True)],
        class_weight="balanced", stop=nncore.Stop(loss=0.01), verbose=False,
    )  # fmt: skip
    assert_type(history, History)
    assert_type(history["loss"], list[float])
    assert_type(history.validation_rows, np.ndarray | None)
    assert best.loss == min(history["loss"])
    assert_type(net.predict(X), np.ndarray)
    assert_type(net.evaluate(X, y, metrics={"top 3": "top_3_accuracy"}), dict[str, float])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.safetensors"
        net.save(path)
        again = nncore.load(path)
    assert_type(again, Network)
    assert (again.predict(X) == net.predict(X)).all()
    first = again.layers[1]
    if isinstance(first, Dense):  # only then it has W
        assert_type(first.W, np.ndarray)
    return again


def look(net: Network, X: np.ndarray, y: np.ndarray) -> None:
    """One step taken apart, what may be wrong with a network, derivatives."""
    trace = net.trace(X[:1], y[:1])
    trace.verify()
    assert_type(trace.loss, float)
    for finding in net.diagnose(X, y):
        assert_type(finding.code, str)
    loss, gradient = net.loss_and_gradient(X, y)
    assert_type(loss, float)
    assert_type(gradient, np.ndarray)
    assert_type(net.jacobian(X[:2], "parameters"), np.ndarray)
    report = nncore.check_gradients(net, X[:5] + 0.1, y[:5], n_checks=20)
    assert_type(report, nncore.GradientReport)
    assert report.errors


def approximate() -> None:
    """A curve: a loss of one's own, a full-batch trainer, one sample at a time."""
    cauchy = nncore.register_loss(
        "cauchy",
        lambda y, t: np.log1p((y - t) ** 2),
        lambda y, t: 2 * (y - t) / (1 + (y - t) ** 2),
    )
    assert_type(cauchy, nncore.Loss)
    X = np.linspace(-1, 1, 100)[:, None]
    net = Network(1, Dense(8, nncore.activations["tanh"]), Dense(1), loss=cauchy, dtype="float64")
    net.fit(X, np.sin(3 * X), epochs=20, callbacks=[ReduceLROnPlateau("loss")], verbose=False)
    net.optimizer = nncore.LBFGS(memory=5)
    net.fit(X, np.sin(3 * X), epochs=50, verbose=False)
    net.optimizer = "adam"
    assert_type(net.learn_one([0.5], 1.0), float)
    assert_type(net.predict_one([0.5]), np.ndarray)
    assert_type(nncore.losses["mse"], nncore.Loss)
    assert_type(nncore.initializers["he_normal"], nncore.Initializer)
    result = nncore.minimize(rosenbrock, [-1.2, 1.0], nncore.BFGS())
    assert_type(result.x, np.ndarray)
    assert result.stop_reason == "gradient"


if __name__ == "__main__":
    digits, labels = nncore.datasets.load_digits()
    look(train(digits, labels), digits, labels)
    approximate()

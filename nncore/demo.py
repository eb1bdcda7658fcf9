"""``nncore demo``: real digits, trained by the C engine and by NumPy, side by side."""

import numpy as np

from . import Adam, Dense, History, Network, datasets

SEED = 1


def run(epochs: int) -> None:
    """Train 64-64-32-10 on the handwritten digits twice, and print how the two compare."""
    X, y = datasets.load_digits()
    X_train, X_test, y_train, y_test = datasets.split(X / 8 - 1, y, test_size=0.2, seed=SEED)
    print(
        f"{len(X):,} handwritten digits, {len(X_train):,} to train on and {len(X_test)} held out; "
        f"64-64-32-10, relu, softmax, Adam, float32"
    )
    engine, history = _train("auto", X_train, y_train, epochs)
    scores = engine.evaluate(X_test, y_test)
    _, oracle_history = _train("reference", X_train, y_train, epochs)
    step = history.seconds / history.n_steps
    oracle_step = oracle_history.seconds / oracle_history.n_steps
    apart = np.abs(np.array(history["loss"]) / oracle_history["loss"] - 1)
    name = f"nncore ({engine.backend})"
    print(f"test accuracy       {100 * scores['accuracy']:.2f} %  (loss {scores['loss']:.4f})")
    print(
        f"{name:18}  {1e6 * step:6.1f} us per step, {history.seconds:.3f} s for "
        f"{history.n_steps:,} steps of 32 rows"
    )
    print(
        f"NumPy               {1e6 * oracle_step:6.1f} us per step, {oracle_history.seconds:.3f} s "
        "for the same from the same weights"
    )
    print(f"ratio               {oracle_step / step:6.1f} times as fast as NumPy")
    print(
        f"loss curves differ  {apart[0]:.1e} relative after epoch 1, {apart.max():.1e} at most "
        "later: float32 rounding, amplified by training"
    )


def _train(backend: str, X: np.ndarray, y: np.ndarray, epochs: int) -> tuple[Network, History]:
    network = Network(
        64, Dense(64, "relu"), Dense(32, "relu"), Dense(10, "softmax"),
        optimizer=Adam(0.002), seed=SEED, backend=backend,
    )  # fmt: skip
    print(f"training on {network.backend} ...", flush=True)
    return network, network.fit(X, y, epochs=epochs, batch_size=32, verbose=True)

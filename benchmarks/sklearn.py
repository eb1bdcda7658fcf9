"""The estimators of nncore.sklearn beside those of scikit-learn: fit and predict, in turns."""

import statistics
import time
import warnings

import numpy as np
import sklearn
import sklearn.neural_network
from sklearn.datasets import load_diabetes, load_digits, load_iris

import nncore.sklearn
from nncore.bench.timing import print_header

KINDS = (sklearn.neural_network, nncore.sklearn)


def cases():
    """Name, estimator, data, parameters."""
    digits = load_digits(return_X_y=True)
    diabetes = load_diabetes(return_X_y=True)
    wide = wide_data()
    yield "digits, defaults", "MLPClassifier", digits, {}
    yield "digits, sgd", "MLPClassifier", digits, {"solver": "sgd"}
    yield "digits, early stopping", "MLPClassifier", digits, {"early_stopping": True}
    yield "digits, lbfgs", "MLPClassifier", digits, {"solver": "lbfgs"}
    yield "iris, defaults", "MLPClassifier", load_iris(return_X_y=True), {}
    yield "diabetes, defaults", "MLPRegressor", diabetes, {}
    yield "diabetes, batches of 10", "MLPRegressor", diabetes, {"batch_size": 10}
    for name, dtype in (("float64", np.float64), ("float32", np.float32)):
        data = wide[0].astype(dtype), wide[1]
        parameters = {"hidden_layer_sizes": (512, 512), "max_iter": 2}
        yield f"784-512-512-10, {name}", "MLPClassifier", data, parameters


def wide_data(rows=4000):
    rng = np.random.default_rng(0)
    return rng.random((rows, 784)), rng.integers(0, 10, rows)


def run(quick=False):
    """Print the table."""
    print_header()
    print(
        f"\nscikit-learn {sklearn.__version__}; seconds of fit, milliseconds of predict of all rows"
        "\nand of one; each library with its own number of threads, turns alternate"
    )
    print(
        f"{'case':26}{'epochs':>7}{'fit: scikit-learn':>18}{'nncore':>9}{'times':>7}"
        f"{'predict':>17}{'nncore':>9}{'times':>7}{'one row':>10}{'nncore':>9}{'loss off by':>13}"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in cases():
            print(measure(*case, quick), flush=True)


def measure(name, kind, data, parameters, quick):
    X, y = data
    limit = {"max_iter": 20} if quick else {}
    models = [getattr(k, kind)(random_state=0, **{**limit, **parameters}) for k in KINDS]
    fits = in_turns([lambda m=m: m.fit(X, y) for m in models], 3 if quick else 7)
    all_rows, one_row = (
        in_turns([lambda m=m, rows=rows: m.predict(rows) for m in models], 30)
        for rows in (X, X[:1])
    )
    theirs, ours = (m.loss_ for m in models)
    return (
        f"{name:26}{models[1].n_iter_:7}{columns(fits, 18, 1)}{columns(all_rows, 17, 1e3)}"
        f"{1e3 * one_row[0]:10.3f}{1e3 * one_row[1]:9.3f}{abs(theirs / ours - 1):13.1e}"
    )


def columns(seconds, width, unit):
    theirs, ours = seconds
    return f"{unit * theirs:{width}.3f}{unit * ours:9.3f}{theirs / ours:7.2f}"


def in_turns(calls, turns):
    """Median seconds of each of two calls."""
    results = [[], []]
    for turn in range(turns + 1):  # the first warms up
        for i in (0, 1) if turn % 2 else (1, 0):
            start = time.perf_counter()
            calls[i]()
            results[i].append(time.perf_counter() - start)
    return [statistics.median(times[1:]) for times in results]

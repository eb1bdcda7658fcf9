"""nncore.sklearn gives scikit-learn's own numbers: the same weights, batches, losses, stops."""

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason='needs pip install ".[sklearn]"')
import sklearn  # noqa: E402  behind importorskip
import sklearn.neural_network as theirs
import threadpoolctl
from scipy import sparse
from sklearn.datasets import (
    load_diabetes,
    load_digits,
    load_iris,
    make_multilabel_classification,
)

import nncore.sklearn as ours

VERSION = tuple(map(int, sklearn.__version__.split(".")[:2]))
WEIGHTS = pytest.mark.skipif(VERSION < (1, 7), reason="scikit-learn has sample_weight from 1.7 on")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads of BLAS that wait for each other make scikit-learn's fits slow."""
    with threadpoolctl.threadpool_limits(1, "blas"):
        yield


DATA = {
    "iris": ("MLPClassifier", *load_iris(return_X_y=True)),
    "digits": ("MLPClassifier", *load_digits(return_X_y=True)),
    "diabetes": ("MLPRegressor", *load_diabetes(return_X_y=True)),
}
DATA["two classes"] = ("MLPClassifier", DATA["iris"][1], DATA["iris"][2] == 1)
DATA["labels"] = ("MLPClassifier", *make_multilabel_classification(n_samples=90, random_state=0))
DATA["counts"] = ("MLPRegressor", DATA["diabetes"][1], DATA["diabetes"][2].round())


def both(data, **parameters):
    """scikit-learn's estimator and ours, unfitted, and the data."""
    kind, X, y = DATA[data]
    parameters = {"max_iter": 25, "random_state": 7, **parameters}
    return [getattr(module, kind)(**parameters) for module in (theirs, ours)], X, y


def assert_same(one, other, X=None, rtol=1e-10):
    """Rounding grows from epoch to epoch: float64 leaves far more than is asked here."""
    assert len(one.loss_curve_) == len(other.loss_curve_)
    np.testing.assert_allclose(other.loss_curve_, one.loss_curve_, rtol)
    assert other.best_loss_ == (one.best_loss_ and pytest.approx(one.best_loss_, rtol))
    for name in ("t_", "n_iter_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_",
                 "_no_improvement_count"):  # fmt: skip
        assert getattr(one, name) == getattr(other, name), name
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(b, a, rtol=0, atol=rtol * 100)
    if one.validation_scores_ is None:
        assert other.validation_scores_ is None and other.best_validation_score_ is None
    else:
        np.testing.assert_allclose(other.validation_scores_, one.validation_scores_, rtol)
        assert other.best_validation_score_ == pytest.approx(one.best_validation_score_)
    if X is not None:
        np.testing.assert_allclose(other.predict(X), one.predict(X), 1e-8)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("data", DATA)
def test_defaults(data, solver):
    models, X, y = both(data, solver=solver, learning_rate_init=1e-4)
    if data == "counts":
        models = [model.set_params(loss="poisson") for model in models] if VERSION >= (1, 7) else []
    for model in models:
        model.fit(X, y)
    if models:
        assert_same(*models, X)
        assert len(models[0].loss_curve_) >= 20


@pytest.mark.parametrize(
    "parameters",
    [
        {"activation": "logistic", "alpha": 3.0, "batch_size": 64},
        {"activation": "tanh", "solver": "sgd", "nesterovs_momentum": False},
        {"activation": "identity", "shuffle": False, "hidden_layer_sizes": ()},
        {"solver": "sgd", "momentum": 0, "hidden_layer_sizes": (9, 8, 7), "batch_size": 41},
        {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.3, "alpha": 0.5},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "max_iter": 300},
        {"early_stopping": True, "validation_fraction": 0.3, "alpha": 1.0, "batch_size": 50},
        {"early_stopping": True, "solver": "sgd", "learning_rate": "adaptive", "max_iter": 80},
        {"tol": 0.05, "n_iter_no_change": 2, "max_iter": 100, "beta_1": 0.5, "epsilon": 1e-3},
        {"n_iter_no_change": np.inf, "tol": 1e9},
    ],
)
@pytest.mark.parametrize("data", ["iris", "two classes", "diabetes", "labels"])
def test_parameters(data, parameters):
    models, X, y = both(data, learning_rate_init=0.002, **parameters)
    if data == "diabetes":
        y = y / 100
    for model in models:
        model.fit(X, y)
    assert_same(*models, X)


@WEIGHTS
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("data", ["iris", "digits", "diabetes"])
def test_sample_weight(data, early_stopping):
    """The penalty of each batch is divided by its weight."""
    models, X, y = both(
        data, early_stopping=early_stopping, alpha=2.0, batch_size=70, solver="sgd",
        learning_rate_init=1e-5,
    )  # fmt: skip
    weights = np.random.RandomState(0).uniform(0, 2, len(y))
    for model in models:
        model.fit(X, y, sample_weight=weights)
    assert_same(*models, X)


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_sparse(container, monkeypatch):
    """Blocks of two batches; the result is that of the dense matrix, to the bit."""
    monkeypatch.setattr("nncore.sklearn.data.BLOCK", 2 * 64 * 200)
    models, X, y = both("digits", alpha=1.0)
    for model in models:
        model.fit(container(X), y)
    assert_same(*models, container(X))
    dense = ours.MLPClassifier(max_iter=25, random_state=7, alpha=1.0).fit(X, y)
    assert np.array_equal(dense.network_.theta, models[1].network_.theta)
    assert np.array_equal(dense.predict_proba(X), models[1].predict_proba(container(X)))


@pytest.mark.parametrize("data", ["digits", "diabetes"])
def test_float32(data):
    models, X, y = both(data)
    X = X.astype(np.float32)
    y = y if data == "digits" else y / 100
    for model in models:
        model.fit(X, y)
    assert models[1].network_.dtype == np.float32
    assert_same(*models, rtol=1e-4)
    out = models[1].predict_proba(X) if data == "digits" else models[1].predict(X)
    assert out.dtype == np.float32


def test_warm_start_with_other_data_and_parameters():
    models, X, y = both("digits", warm_start=True)
    for model in models:
        model.fit(X, y)
        model.set_params(solver="sgd", alpha=0.5, max_iter=5).fit(X[:700], y[:700])
        model.fit(X, y)
    assert_same(*models, X)
    assert len(models[1].loss_curve_) == 35 and models[1].n_iter_ == 5


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_partial_fit_with_pickles_between(solver):
    models, X, y = both("digits", solver=solver, learning_rate="invscaling", batch_size=50)
    for turn in range(24):
        rows = slice(70 * turn, 70 * turn + 70)
        for model in models:
            model.partial_fit(X[rows], y[rows], classes=range(10))
        models = [pickle.loads(pickle.dumps(model)) for model in models]
    assert_same(*models, X)


def test_a_random_state_object_is_drawn_from_alike():
    models, X, y = both("iris", early_stopping=True)
    states = [np.random.RandomState(3) for _ in models]
    for model, state in zip(models, states, strict=True):
        model.set_params(random_state=state).fit(X, y)
        model.fit(X, y)
    assert_same(*models)
    assert states[0].randint(1 << 30) == states[1].randint(1 << 30)


@pytest.mark.parametrize("data", DATA)
def test_lbfgs(data):
    """The first iterations agree; after that rounding leads to other points as good."""
    models, X, y = both(data, solver="lbfgs", max_iter=8)
    X = X / np.abs(X).max()
    for model in models:
        model.fit(X, y)
    assert models[0].n_iter_ == models[1].n_iter_
    assert models[1].loss_ == pytest.approx(models[0].loss_, 1e-6)
    np.testing.assert_allclose(models[1].predict(X), models[0].predict(X), 1e-4)
    assert len(models[1].loss_curve_) == 8 and models[1].loss_curve_[-1] == models[1].loss_


def test_lbfgs_by_blocks_weights_and_float32(monkeypatch):
    """Sparse and float32 rows go through float64 a block at a time; nothing else changes."""
    X, y = DATA["digits"][1:]
    X, weights = X / 16, np.random.RandomState(0).uniform(0, 2, len(y))
    model = ours.MLPClassifier((20,), solver="lbfgs", max_iter=15, random_state=0, alpha=2.0)
    model.fit(X, y, weights)
    losses = list(model.loss_curve_)
    monkeypatch.setattr("nncore.sklearn.data.BLOCK", 64 * 500)
    for other, rtol in ((sparse.csr_array(X), 1e-9), (X.astype(np.float32), 1e-6)):
        model.fit(other, y, weights)  # the first weights are rounded to float32, too
        np.testing.assert_allclose(model.loss_curve_, losses, rtol)
        assert model.coefs_[0].dtype == other.dtype
    loss = model.fit(X, y, weights).network_.evaluate(X, y, sample_weight=weights)["loss"]
    assert loss == pytest.approx(model.loss_, rel=1e-12)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_several_outputs_report_what_is_differentiated(solver):
    """scikit-learn#8349: its loss is a mean over outputs, its gradient that of their sum."""
    X, y = DATA["diabetes"][1:]
    Y = np.column_stack([y, y[::-1], y**0.5]) / 100
    parameters = {"max_iter": 25, "random_state": 7, "solver": solver, "alpha": 1.0,
                  "n_iter_no_change": np.inf}  # fmt: skip
    one, other = (m.MLPRegressor(**parameters).fit(X, Y) for m in (theirs, ours))
    for a, b in zip(one.coefs_, other.coefs_, strict=True):  # the same steps
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-10)
    squares = sum((w**2).sum() for w in other.coefs_)
    penalty = 0.5 * squares / len(X)
    objective = ((other.predict(X) - Y) ** 2).sum(axis=1).mean() / 2 + penalty
    assert other.network_.evaluate(X, Y)["loss"] == pytest.approx(objective, rel=1e-12)
    # Without the penalty the reported losses differ by the number of outputs.
    parameters["alpha"] = 0
    one, other = (m.MLPRegressor(**parameters).fit(X, Y) for m in (theirs, ours))
    np.testing.assert_allclose(other.loss_curve_, 3 * np.array(one.loss_curve_), 1e-10)
    # And training stops in the same epoch.
    del parameters["n_iter_no_change"]
    parameters |= {"max_iter": 400, "tol": 1e-3}
    one, other = (m.MLPRegressor(**parameters).fit(X, Y) for m in (theirs, ours))
    assert 25 < one.n_iter_ == other.n_iter_ < 400


@pytest.mark.skipif(VERSION < (1, 9), reason="said of scikit-learn 1.9")
def test_what_the_notes_say_is_different():
    """Each is still other than there; what `loss_` is of several outputs is tested above."""
    X, y = DATA["iris"][1:]
    few = {"max_iter": 3, "random_state": 0}
    for refused, fit in (
        ("momentum", lambda m: m.MLPClassifier(solver="sgd", momentum=1.0, **few).fit(X, y)),
        ("sample_weight", lambda m: m.MLPClassifier(**few).fit(X, y, -np.ones(len(y)))),
        ("at least 0", lambda m: m.MLPRegressor("poisson", **few).fit(X, y - 100)),
    ):
        fit(theirs)
        with pytest.raises(ValueError, match=refused):
            fit(ours)
    types = [m.MLPRegressor(**few).fit(X.astype("f4"), y).predict(X).dtype for m in (theirs, ours)]
    assert types == [np.float64, np.float32]
    models, X, y = both("diabetes", solver="lbfgs", max_iter=100, early_stopping=True)
    for model in models:
        model.fit(X, y)
    assert models[0].n_iter_ == models[1].n_iter_ == 100  # nothing has stopped it early
    assert not hasattr(models[0], "loss_curve_") and len(models[1].loss_curve_) == 100
    off = abs(models[1].loss_ / models[0].loss_ - 1)
    assert 1e-10 < off < 0.02  # epsilon of 1e-16, doubled in one iteration out of two or three


def test_what_is_printed_is_the_same(capsys):
    printed = []
    for parameters in ({"tol": 0.2}, {"early_stopping": True, "solver": "sgd", "tol": 0.3},
                       {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.3,
                        "n_iter_no_change": 2}):  # fmt: skip
        for model in both("iris", verbose=True, max_iter=60, **parameters)[0]:
            model.fit(*DATA["iris"][1:])
            printed.append(capsys.readouterr().out)
        assert printed[-1] == printed[-2]
        assert "Iteration 1, loss = " in printed[-1]


def test_predictions_are_the_same():
    for data in ("iris", "two classes", "labels"):
        models, X, y = both(data)
        for model in models:
            model.fit(X, y)
        for name in ("predict", "predict_proba", "predict_log_proba"):
            one, other = (getattr(model, name)(X) for model in models)
            assert one.dtype == other.dtype and one.shape == other.shape
            # of networks that agree to 1e-10 (`assert_same`), through some 10 products
            np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-12)
        assert models[0].score(X, y) == models[1].score(X, y)
        assert np.array_equal(models[0].classes_, models[1].classes_)


def test_parameters_are_theirs_first():
    """In scikit-learn's order and with its defaults; what is nncore's comes behind them."""
    for kind, added in (
        ("MLPClassifier", ["class_weight", "dropout", "init", "n_threads"]),
        ("MLPRegressor", ["dropout", "init", "n_threads"]),
    ):
        one = getattr(theirs, kind)().get_params()
        other = getattr(ours, kind)().get_params()
        allowed = {*added, "loss"}
        assert set(one) <= set(other) and set(other) - set(one) <= allowed
        assert {name: other[name] for name in one} == one
    for module in (theirs, ours):
        with pytest.raises(TypeError):
            module.MLPClassifier((3,), "relu", "adam")
    if VERSION >= (1, 7):
        assert ours.MLPRegressor("poisson", (3,), "tanh").loss == "poisson"


def test_warnings_are_theirs():
    X, y = DATA["iris"][1:]
    for parameters in ({"max_iter": 2}, {"batch_size": 1000, "max_iter": 2}):
        texts = []
        for module in (theirs, ours):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                module.MLPClassifier(**parameters).fit(X, y)
            texts.append([(w.category, str(w.message).rstrip(".")) for w in caught])
            assert module is theirs or {w.filename for w in caught} == {__file__}
        assert texts[0] == texts[1]


@pytest.mark.parametrize("data", ["iris", "two classes", "diabetes"])
@pytest.mark.parametrize("activation", ["logistic", "tanh"])
def test_no_hidden_layers(data, activation):
    """Their activation still says how far apart the first weights are."""
    (one, other), X, y = both(data, hidden_layer_sizes=(), activation=activation)
    one.fit(X, y), other.fit(X, y)
    np.testing.assert_allclose(other.loss_curve_, one.loss_curve_, rtol=1e-10)

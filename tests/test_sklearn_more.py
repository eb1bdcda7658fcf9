"""What nncore.sklearn has that scikit-learn has not: layers, losses, weights, solvers."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason='needs pip install ".[sklearn]"')
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.metrics import accuracy_score, log_loss

import nncore
from nncore.sklearn import MLPClassifier, MLPRegressor

X, Y = load_iris(return_X_y=True)
XD, YD = load_diabetes(return_X_y=True)
YD = YD / 100
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_an_activation_for_each_layer():
    slope = nncore.Activation("leaky_relu", slope=0.2)
    model = MLPClassifier((6, 5, 4), ["tanh", slope, "logistic"], max_iter=5).fit(X, Y)
    functions = [layer.function for layer in model.network_.layers]
    assert [f.name for f in functions] == ["tanh", "leaky_relu", "sigmoid", "softmax"]
    assert functions[1].parameters == {"slope": 0.2}
    one = MLPClassifier((6, 5), "tanh", random_state=0, max_iter=5).fit(X, Y)
    two = MLPClassifier((6, 5), ["tanh"] * 2, random_state=0, max_iter=5).fit(X, Y)
    assert one.loss_curve_ == two.loss_curve_


def test_dropout():
    model = MLPClassifier((6, 5), dropout=[0.0, 0.3], max_iter=1).fit(X, Y)
    kinds = [type(layer).__name__ for layer in model.network_.layers]
    assert kinds == ["Dense", "Dense", "Dropout", "Dense"]
    runs = [
        MLPClassifier(20, dropout=rate, random_state=seed, max_iter=20).fit(X, Y).loss_curve_
        for rate, seed in ((0.5, 0), (0.5, 0), (0.5, 1), (0.0, 0))
    ]
    assert runs[0] == runs[1] and runs[0] != runs[2] and runs[0][-1] > runs[3][-1]
    model = MLPClassifier(20, dropout=0.5, random_state=0, max_iter=20).fit(X, Y)
    assert np.array_equal(model.predict_proba(X), model.predict_proba(X))  # nothing is dropped
    assert len(model.coefs_) == 2 and model.n_layers_ == 3


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_class_weight_multiplies_sample_weight(solver):
    weights = np.random.default_rng(0).uniform(0.5, 2, len(Y))
    given = {0: 1.0, 1: 5.0, 2: 0.5}
    parameters = {"solver": solver, "random_state": 0, "max_iter": 20, "alpha": 1.0}
    one = MLPClassifier(class_weight=given, **parameters).fit(X, Y, weights)
    two = MLPClassifier(**parameters).fit(X, Y, weights * np.array([1.0, 5.0, 0.5])[Y])
    assert one.loss_curve_ == two.loss_curve_
    some = np.r_[0:50, 50:60, 100:150]  # the second class is rare
    one = MLPClassifier(class_weight="balanced", **parameters).fit(X[some], Y[some])
    two = MLPClassifier(class_weight={0: 110 / 150, 1: 110 / 30, 2: 110 / 150}, **parameters)
    np.testing.assert_allclose(one.loss_curve_, two.fit(X[some], Y[some]).loss_curve_)
    partial = MLPClassifier(class_weight=given, random_state=0).partial_fit(X, Y, classes=[0, 1, 2])
    fitted = MLPClassifier(class_weight=given, random_state=0, max_iter=1).fit(X, Y)
    assert partial.loss_curve_ == fitted.loss_curve_


def test_losses_of_a_regressor():
    """alpha = 0: what is reported is the loss itself."""
    for loss in ("huber", "mae", "log_cosh", nncore.Loss("quantile", q=0.9)):
        model = MLPRegressor(loss, 20, solver="lbfgs", alpha=0, random_state=0).fit(XD, YD)
        values = nncore.Loss(loss).value if isinstance(loss, str) else loss.value
        assert model.loss_ == pytest.approx(values(model.predict(XD), YD).mean(), rel=1e-9)
    below = YD <= model.predict(XD)  # of the quantile
    assert below.mean() == pytest.approx(0.9, abs=0.03)
    model = MLPRegressor("gaussian_nll", 20, solver="lbfgs", random_state=0).fit(XD, YD)
    out = model.network_.predict(XD)
    assert out.shape == (len(XD), 2) and np.array_equal(out[:, 0], model.predict(XD))
    assert model.n_outputs_ == 1 and model.score(XD, YD) > 0.4


@pytest.mark.parametrize(
    "loss", ["mse", "kl_divergence", nncore.Loss("cross_entropy", label_smoothing=0.1)]
)
def test_losses_of_a_classifier(loss):
    model = MLPClassifier(20, loss=loss, solver="lbfgs", random_state=0).fit(X, Y)
    assert model.score(X, Y) > 0.95
    assert clone(model).loss == loss
    labels = np.eye(3, dtype=int)[Y]
    model = MLPClassifier(20, loss="focal", solver="lbfgs", random_state=0).fit(X, labels)
    assert model.score(X, labels) > 0.9


@pytest.mark.parametrize("solver", ["adam", "lbfgs", "scg"])
def test_validation_data(solver):
    train, held = np.arange(0, 150, 2), np.arange(1, 150, 2)
    weights = np.linspace(0.5, 1.5, 75)
    model = MLPClassifier(9, solver=solver, alpha=3.0, random_state=0, max_iter=12)
    model.fit(X[train], Y[train], X_val=X[held], y_val=Y[held], sample_weight_val=weights)
    proba = model.predict_proba(X[held])
    assert len(model.validation_loss_curve_) == model.n_iter_
    want = log_loss(Y[held], proba, sample_weight=weights)  # without the penalty
    assert model.validation_loss_curve_[-1] == pytest.approx(want, rel=1e-12)
    without = clone(model).fit(X[train], Y[train])
    assert without.loss_curve_ == model.loss_curve_ and without.validation_loss_curve_ is None
    for wrong in ({"X_val": X}, {"X_val": X[:, :2], "y_val": Y}, {"X_val": X, "y_val": Y + 1},
                  {"X_val": X, "y_val": Y, "sample_weight_val": np.zeros(150)}):  # fmt: skip
        with pytest.raises(ValueError):
            model.fit(X[train], Y[train], **wrong)


def test_early_stopping_on_validation_data():
    train, held = np.arange(0, 150, 2), np.arange(1, 150, 2)
    model = MLPClassifier(9, early_stopping=True, random_state=0, max_iter=60)
    model.fit(X[train], Y[train], X_val=X[held], y_val=Y[held])
    assert model.t_ == 75 * model.n_iter_  # no row was held out of those to train on
    best = max(model.validation_scores_)
    assert model.best_validation_score_ == best == accuracy_score(Y[held], model.predict(X[held]))
    model = MLPRegressor("poisson", early_stopping=True, random_state=0, max_iter=60)
    model.fit(XD[::2], YD[::2], X_val=XD[1::2], y_val=YD[1::2])
    assert model.best_validation_score_ == pytest.approx(model.score(XD[1::2], YD[1::2]))
    t, p = YD[1::2], model.predict(XD[1::2])
    at = int(np.argmax(model.validation_scores_))
    deviance = (t * np.log(t / p) - t + p).mean()
    assert model.validation_loss_curve_[at] == pytest.approx(deviance, rel=1e-9)


def test_first_weights():
    first = MLPClassifier(6, random_state=0, max_iter=4).fit(X, Y)
    on = MLPClassifier(6, random_state=1, max_iter=1, init=first.coefs_ + first.intercepts_)
    assert on.fit(X, Y).loss_ < first.loss_curve_[-1]
    for rows in (first.coefs_, clone(on).init):  # biases of 0, and a clone
        assert MLPClassifier(6, init=rows, max_iter=1).fit(X, Y).n_iter_ == 1
    one, two, three = (
        MLPClassifier(6, random_state=seed, max_iter=1, init="orthogonal").fit(X, Y).loss_
        for seed in (0, 0, 1)
    )
    assert one == two != three
    zeros = MLPClassifier(6, max_iter=1, init=lambda rng, n_in, n_out: np.zeros((n_in, n_out)))
    assert zeros.fit(X, Y).loss_curve_[0] == pytest.approx(np.log(3))


@pytest.mark.parametrize(
    "solver",
    ["adamw", "rmsprop", "scg", "rprop", nncore.LBFGS(), nncore.SGD(0.1, momentum=0.9),
     nncore.Adam(nncore.schedules.Cosine(0.05, 60)), nncore.Adam(0.02, swa=5)],
)  # fmt: skip
def test_solvers(solver):
    parameters = {"solver": solver, "random_state": 0, "max_iter": 60, "learning_rate_init": 0.01}
    model = MLPClassifier(20, **parameters).fit(X, Y)
    assert model.score(X, Y) > 0.85 and len(model.loss_curve_) == model.n_iter_
    again = clone(model).fit(X, Y)
    assert again.loss_curve_ == model.loss_curve_
    if solver == "adamw":
        assert model.network_.optimizer.lr == 0.01
    if getattr(solver, "swa", None):
        assert model.network_.averaged().evaluate(X, Y)["accuracy"] > 0.85


def test_a_solver_of_all_rows_reports_the_objective():
    model = MLPRegressor(hidden_layer_sizes=4, solver="lm", random_state=0, max_iter=15, alpha=2.0)
    model.fit(XD, YD)
    squares = sum((w**2).sum() for w in model.coefs_) / len(XD)
    loss = ((model.predict(XD) - YD) ** 2).mean() / 2 + squares
    assert model.loss_ == pytest.approx(loss, rel=1e-12)
    assert model.network_.evaluate(XD, YD)["loss"] == pytest.approx(loss, rel=1e-12)


def test_a_schedule_on_plateaus_sees_the_validation_loss():
    plateau = nncore.schedules.OnPlateau(0.05, patience=0, monitor="val_loss")
    model = MLPClassifier(solver=nncore.SGD(plateau), max_iter=80, random_state=0)
    with pytest.raises(ValueError, match="val_loss"):
        model.fit(X, Y)
    model.fit(X[::2], Y[::2], X_val=X[1::2], y_val=Y[1::2])
    assert model.network_._last_rate < 0.05
    plateau = nncore.schedules.OnPlateau(0.05, monitor="val_accuracy")
    with pytest.raises(ValueError, match="val_accuracy"):
        clone(model).set_params(solver=nncore.SGD(plateau)).fit(X, Y, X_val=X, y_val=Y)


def test_threads_change_nothing():
    one, two = (
        MLPClassifier(300, n_threads=n, random_state=0, max_iter=2).fit(X, Y).network_.theta
        for n in (1, 2)
    )
    assert np.array_equal(one, two)

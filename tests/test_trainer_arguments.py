"""Names and arguments of full-batch trainers, and what `Network` refuses with them."""

import numpy as np
import pytest

import nncore
from nncore import (
    BFGS,
    LBFGS,
    BayesianRegularization,
    ConjugateGradient,
    Dense,
    GradientDescent,
    LevenbergMarquardt,
    Network,
    OneStepSecant,
    Quickprop,
    Rprop,
    ScaledConjugateGradient,
    SteepestDescent,
    line_searches,
)
from nncore.trainers import ALIASES, BY_NAME, TRAINERS

from .trainees import EVERY, X, Y, bits, fit, network

# ---- names and arguments ----


def test_names():
    for alias, name in ALIASES.items():
        assert network(alias).optimizer == network(name).optimizer
    assert network("trainbr").optimizer == BayesianRegularization()
    assert network("traingdx").optimizer == GradientDescent(momentum=0.9, adaptive=True)
    assert network("traincgb").optimizer.restart == "powell_beale"
    assert network("cg_hager_zhang").optimizer.beta == "hager_zhang"
    for wrong, near in (("LM", "lm"), ("TrainLM", "trainlm"), ("l-bfgs", "lbfgs"),
                        ("RProp", "rprop"), ("conjugate", None)):  # fmt: skip
        with pytest.raises(ValueError, match="Unknown optimizer") as error:
            network(wrong)
        assert near is None or f'Did you mean "{near}"?' in str(error.value)
        assert "adam" in str(error.value) and "trainlm" not in str(error.value).split("Known")[1]
    with pytest.raises(ValueError, match=r"optimizer is a class; write LBFGS\(\) with brackets"):
        network(LBFGS)


@pytest.mark.parametrize("kind", TRAINERS.values(), ids=TRAINERS)
def test_objects_are_what_their_config_says(kind):
    made = kind()
    again = TRAINERS[made.config().pop("type")](
        **{k: v for k, v in made.config().items() if k != "type"}
    )
    assert again == made and again.config() == made.config()
    known = vars(nncore.line_searches) | TRAINERS
    assert eval(repr(made), dict(known)) == made
    for name in BY_NAME:
        assert isinstance(BY_NAME[name](), tuple(TRAINERS.values()))
    with pytest.raises(AttributeError, match="has no attribute 'learning_rate' to set"):
        made.learning_rate = 1


def test_arguments_come_in_the_documented_order():
    assert LBFGS(7).memory == 7 and Rprop("rprop-", 0.2).step_start == 0.2
    assert ConjugateGradient("dai_yuan", "hager_zhang", None).restart is None
    assert LevenbergMarquardt("nielsen", 0.1).mu == 0.1 and Quickprop(0.1, 2).mu == 2
    assert BFGS("backtracking").line_search == line_searches.Backtracking()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConjugateGradient("fletcher"), 'beta of ConjugateGradient must be one of "fl'),
        (lambda: ConjugateGradient([]), "beta of ConjugateGradient must be one of"),
        (lambda: ConjugateGradient(restart="beale"), 'must be one of "powell", "powell_beale" or'),
        (lambda: ConjugateGradient(line_search="wolf"), 'Did you mean "wolfe"'),
        (lambda: SteepestDescent(line_search=None), "Unknown line search None"),
        (lambda: ScaledConjugateGradient(sigma=0), "sigma of Scaled.* must be positive and finite"),
        (lambda: ScaledConjugateGradient(curvature="x"), "curvature of .* must be one of"),
        (lambda: LBFGS(0), "memory of LBFGS must be an integer of at least 1, got 0"),
        (lambda: LBFGS(2.5), "memory of LBFGS must be an integer"),
        (lambda: BFGS(max_bytes=-1), "max_bytes of BFGS must be positive"),
        (lambda: OneStepSecant("x"), "Unknown line search 'x'"),
        (lambda: Rprop("irprop"), 'variant of Rprop must be one of "rprop-", "rprop'),
        (lambda: Rprop(step_start=(0.2, 0.1)), r"step_start of Rprop must be .* got \(0.2, 0.1\)"),
        (lambda: Rprop(step_start=(1, 2, 3)), "step_start of Rprop must be a number, or a tuple"),
        (lambda: Rprop(step_start="x"), "step_start of Rprop must be a number, or a tuple of two"),
        (lambda: LevenbergMarquardt(mu=1, mu_max=0.1), "mu of LevenbergMarquardt is above mu_max"),
        (lambda: Rprop(step_min=2, step_max=1), "step_min of Rprop is above step_max: 2.0 and 1.0"),
        (lambda: Rprop(eta_minus=1), r"eta_minus of Rprop must be in \(0, 1\)"),
        (lambda: Rprop(eta_plus=0.9), "eta_plus of Rprop must be at least 1"),
        (lambda: Quickprop(mu=0), "mu of Quickprop must be positive"),
        (lambda: Quickprop(decay=-1), "decay of Quickprop must be at least 0"),
        (lambda: GradientDescent(momentum=1), "momentum of GradientDescent must be at least 0 and"),
        (lambda: GradientDescent(adaptive=1), "adaptive of GradientDescent must be True or False"),
        (lambda: GradientDescent(increase=0.9), "increase of GradientDescent must be at least 1"),
        (lambda: GradientDescent(decrease=1), r"decrease of GradientDescent must be in \(0, 1\)"),
        (lambda: LevenbergMarquardt("more"), 'must be one of "matlab", "nielsen", "marquardt"'),
        (lambda: LevenbergMarquardt(mu=0), "mu of LevenbergMarquardt must be positive"),
        (lambda: LevenbergMarquardt(increase=1), "increase of LevenbergMarquardt must be above 1"),
        (lambda: LevenbergMarquardt(decrease=0), "decrease of LevenbergMarquardt must be in"),
        (lambda: LevenbergMarquardt(block_rows=0), "block_rows of .* an integer of at least 1"),
        (lambda: BayesianRegularization(mu_max="x"), "mu_max of BayesianReg.* must be a number"),
    ],
)  # fmt: skip
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def refused(net, message, error=ValueError, **options):
    """That fit raises and leaves all as it was."""
    before = bits(net)
    with pytest.raises(error, match=message):
        fit(net, 2, **options)
    assert bits(net) == before


def test_mini_batches_are_refused():
    for trainer in EVERY:
        net = network(trainer)
        name = type(net.optimizer).__name__
        for size in (1, 8, 23, 25, "half"):
            refused(net, f"{name} uses all rows at once, got batch_size={size!r}; leave it out",
                    batch_size=size)  # fmt: skip
        for size in (None, "full", len(X)):
            fit(net, 1, batch_size=size)


def test_layers_that_a_trainer_cannot_have():
    for layer in (nncore.Dropout(0.5), nncore.GaussianNoise(0.1), nncore.BatchNorm()):
        for trainer in ("cg", "lm", "rprop"):
            net = Network(2, Dense(4, "tanh"), layer, Dense(1), optimizer=trainer, seed=0)
            refused(net, "leave Dropout, GaussianNoise and BatchNorm out, or train with .adam.")
            with pytest.raises(ValueError, match="needs a loss that is the same"):
                net.partial_fit(X, Y)
    net = Network(2, Dense(4, "tanh"), Dense(1), optimizer="lbfgs", seed=0)
    for attribute, value in (("lr_scale", 0.5), ("max_norm", 1.0)):
        twin = net.copy()
        setattr(twin.layers[0], attribute, value)
        refused(twin, f"LBFGS has no use for {attribute}={value}")
    inner = nncore.Residual(Dense(2, "tanh", lr_scale=2.0))
    refused(
        Network(2, inner, Dense(1), optimizer="scg", seed=0), "no use for lr_scale=2.0 of Dense"
    )


def test_bfgs_says_how_much_memory_it_needs():
    net = network(BFGS(max_bytes=2 * 37**2 * 8 - 1))
    refused(net, "BFGS needs two matrices of 37 x 37 parameters.* raise max_bytes=, or use .lbfgs.")
    net.optimizer = BFGS(max_bytes=2 * 37**2 * 8)
    fit(net, 2)


def test_without_a_second_derivative_scg_takes_differences():
    """A registered loss has none; the mean square of one's own is that of the table else."""
    from nncore import loss

    before = dict(loss._own)
    nncore.register_loss("my_square", lambda y, t: (y - t) ** 2, lambda y, t: 2 * (y - t))
    try:
        rough, fine, exact = (
            network(optimizer, loss=name)
            for optimizer, name in (
                ("scg", "my_square"),
                (ScaledConjugateGradient(curvature="difference"), "mse"),
                ("scg", "mse"),
            )
        )
        losses = [fit(net, 8)["loss"] for net in (rough, fine, exact)]
    finally:
        loss._own.clear()
        loss._own.update(before)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
    np.testing.assert_allclose(losses[0], losses[2], rtol=1e-2)

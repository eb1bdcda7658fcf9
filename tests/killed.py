"""A program for `test_checkpoints`: trainings that are killed again and again, and go on.

    python killed.py FOLDER KILLS SEED

Each training runs in a fork of its own, which writes a checkpoint after each epoch and is killed by
SIGKILL at a random moment. When one has come to its end, it must have the bits of one that was
never killed. Prints the number of kills, of trainings that came to their end, of files that were
being written when a kill came, and whether all bits were the same.
"""

import json
import os
import random
import signal
import sys
import time
import traceback

import numpy as np

import nncore
from nncore import Adam, Dense, Dropout, Network, Stop, schedules
from nncore.callbacks import Checkpoint, CSVLogger, EarlyStopping

X = np.random.default_rng(0).normal(size=(90, 5))
Y = np.sin(X[:, :1]) + X[:, 1:2] * X[:, 2:3]
LABELS = (Y[:, 0] > 0).astype(int)


def dropout(folder):
    """Dropout, a schedule by steps, an average, a stratified split, early stopping."""
    optimizer = Adam(schedules.Cosine(0.02, steps=300), ema=0.99)
    layers = Dense(24, "tanh"), Dropout(0.1), Dense(2, "softmax")
    net = Network(5, *layers, optimizer=optimizer, seed=1)
    stopping = EarlyStopping("val_f1", patience=12, restore_best_weights=True)
    log = CSVLogger(os.path.join(folder, "log.csv"))
    history = net.fit(
        X, LABELS, epochs=40, batch_size=7, verbose=0, validation_split=0.2, metrics=["f1"],
        callbacks=[stopping, log, Checkpoint(folder, seconds=0, keep=2)],
    )  # fmt: skip
    with open(os.path.join(folder, "log.csv")) as file:
        return net, history, [stopping.best, stopping.best_epoch, file.read()]


def normalised(folder):
    """Running statistics, a schedule that looks at the losses, conditions of a Stop."""
    rate = schedules.OnPlateau(0.05, factor=0.5, patience=1)
    net = Network(
        5, Dense(16, "relu"), nncore.BatchNorm(), Dense(1), seed=2,
        optimizer=nncore.SGD(rate, momentum=0.9, swa=5),
    )  # fmt: skip
    history = net.fit(
        X, Y, epochs=40, batch_size=16, verbose=0, validation_data=(X[:20] + 0.1, Y[:20]),
        stop=Stop(max_fail=15, step=1e-9), callbacks=[Checkpoint(folder, seconds=0)],
    )  # fmt: skip
    return net, history, []


def all_rows(folder):
    """A full-batch trainer with a memory."""
    net = Network(5, Dense(12, "tanh"), Dense(1), optimizer="lbfgs", dtype="float64", seed=3)
    history = net.fit(
        X, Y, epochs=60, verbose=0, callbacks=[Checkpoint(folder, seconds=0)], train_metrics=["r2"]
    )
    return net, history, []


TRAININGS = (dropout, normalised, all_rows)


def result(training, folder):
    """All that a training leaves, as text."""
    net, history, more = training(folder)
    engine = net._engine
    average = None if engine.average is None else engine.average.tobytes().hex()
    return json.dumps([
        net.theta.tobytes().hex(), engine.state.tobytes().hex(), engine.running.tobytes().hex(),
        average, str(net._rng.bit_generator.state), engine.n_updates, str(engine.draws),
        {name: [float(v).hex() for v in values] for name, values in history.items()},
        history.stop_reason, history.n_steps, str(history.validation_rows), more,
    ])  # fmt: skip


def in_fork(training, folder, path):
    """Start one; its process."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        text = result(training, folder)
        with open(path, "w") as file:
            file.write(text)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def main(folder, kills, seed):
    rng = random.Random(seed)
    done = ended = torn = 0
    same = True
    while done < kills or ended < len(TRAININGS):
        training = TRAININGS[ended % len(TRAININGS)]
        place = os.path.join(folder, f"{ended}")
        path = place + ".result"
        os.makedirs(place + "x")
        start = time.perf_counter()
        expected = result(training, place + "x")  # here, so that a fork has imported all
        whole = time.perf_counter() - start
        os.makedirs(place)
        while True:
            process = in_fork(training, place, path)
            time.sleep(1.2 * whole * rng.random() ** 3)  # mostly early, and sometimes late
            if done < kills:
                os.kill(process, signal.SIGKILL)
            status = os.waitpid(process, 0)[1]
            if os.WIFSIGNALED(status):
                done += 1
                torn += any(name.startswith(".nncore-") for name in os.listdir(place))
            elif os.WEXITSTATUS(status):
                return print(done, ended, torn, "failed")
            else:
                break
        with open(path) as file:
            same = same and file.read() == expected
        ended += 1
    print(done, ended, torn, same)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

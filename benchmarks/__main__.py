"""``python -m benchmarks [name]``; without a name it is ``nncore bench``."""

import argparse
import importlib
import sys

from nncore import bench

BENCHMARKS = {
    "activations": "each activation and its slope per element, beside NumPy and PyTorch",
    "gemm": "matrix products: percent of the FMA peak, and against np.dot",
    "derivatives": "per-sample gradients and Hessian-vector products",
    "landscape": "the loss on a grid of parameters, beside single evaluations",
    "monitor": "what nncore.Monitor adds to the time of fit",
    "sklearn": "nncore.sklearn beside scikit-learn's own estimators: fit and predict",
    "trainers": "full-batch trainers: epochs, gradients and time to a goal, as Markdown",
    "importing": "what importing nncore adds to importing NumPy",
}


def main():
    if sys.argv[1:2] and not sys.argv[1].startswith("-"):
        return run_named()
    names = "; ".join(f"{name}: {text}" for name, text in BENCHMARKS.items())
    return bench.main(prog="python -m benchmarks", epilog=f"A name runs another one. {names}.")


def run_named():
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    commands = parser.add_subparsers(dest="name", required=True, metavar="name")
    for name, text in BENCHMARKS.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("--quick", action="store_true", help="fewer shapes and bursts")
        if name == "activations":
            command.add_argument("--dtype", choices=("float32", "float64"), default="float32")
        if name == "trainers":
            add_options_of_trainers(command)
    options = vars(parser.parse_args())
    importlib.import_module(f".{options.pop('name')}", __package__).run(**options)


def add_options_of_trainers(command):
    command.add_argument("--seeds", type=_seeds, help="runs of each trainer on each problem (20)")
    command.add_argument(
        "--peers", action="store_true",
        help="instead: beside SciPy, PyTorch, pyrenn and neurolab, and the trainers' own work",
    )  # fmt: skip
    command.add_argument("--chart", metavar="FILE", help="draw loss against time; needs matplotlib")
    command.add_argument(
        "--write", metavar="PAGE", help="put the tables between the markers of docs/trainers.md"
    )
    command.add_argument(
        "--neurolab", metavar="PYTHON", help="an interpreter with neurolab and NumPy below 2"
    )


def _seeds(text):
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"expected an integer from 1 to 1000, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

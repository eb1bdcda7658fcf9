"""``python -m benchmarks <name>``"""

import argparse
import importlib

BENCHMARKS = {
    "gemm": "matrix products: percent of the FMA peak, and against np.dot",
    "importing": "what importing nncore adds to importing NumPy",
}


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    commands = parser.add_subparsers(dest="name", required=True, metavar="name")
    for name, text in BENCHMARKS.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("--quick", action="store_true", help="fewer shapes and bursts")
    options = parser.parse_args()
    importlib.import_module(f".{options.name}", __package__).run(quick=options.quick)


if __name__ == "__main__":
    main()

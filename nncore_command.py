"""The command ``nncore``. It stands beside the package because importing that can fail.

`import nncore` raises where NNCORE_ISA names what this machine cannot run; a command line ends with
one line instead of a traceback.
"""

import sys


def main():
    """Run the command line; return the exit status."""
    try:
        from nncore.cli import main
    except ImportError as error:
        print(f"nncore: error: {error}", file=sys.stderr)
        return 2
    return main()

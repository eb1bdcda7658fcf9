"""Print the compiler flags of setup.py, so that the C tests are built as the extension is."""

import ast
from pathlib import Path

SETUP = Path(__file__).resolve().parent.parent / "setup.py"


def flags(setup=SETUP):
    """The list that setup.py assigns to FLAGS first: that of gcc and clang."""
    for statement in ast.parse(Path(setup).read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "FLAGS":
            return ast.literal_eval(statement.value)
    raise ValueError(f"{setup} assigns no FLAGS")


if __name__ == "__main__":
    print(*flags())

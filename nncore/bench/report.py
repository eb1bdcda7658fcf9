"""Tables, saved results, and the comparison of two of them."""

import argparse
import dataclasses
import json
import math
import platform
import sys
import time
from pathlib import Path
from typing import Any

from .cases import MODES
from .runner import Race, Result

FORMAT = "nncore bench 1"
NAME, COLUMN = 48, 10  # widths


def header(race: Race, options: argparse.Namespace, cores: list[int]) -> dict[str, Any]:
    """Return what a table needs to be read later."""
    versions = dict(race.versions)
    return {
        "processor": versions.pop("probe"),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "threads": options.threads,
        "cores": cores,
        "isa": options.isa or "not limited",
        "bursts": race.bursts,
        "versions": versions,
        "broken": {name: why for name, why in race.broken.items() if name != "probe"},
    }


class Printer:
    """Prints the header, then a table per mode as the results come.

    Parameters
    ----------
    header : dict
        Of `header`.
    """

    def __init__(self, header: dict[str, Any]):
        self.header, self.mode = header, ""
        self.results: list[Result] = []
        self.columns = list(header["versions"])
        pinned = f" pinned to {header['cores']}" if header["cores"] else ", not pinned"
        print(
            f"{header['processor']}; threads: {header['threads']}{pinned}; "
            f"instruction set: {header['isa']}; Python {header['python']}; {header['date']}"
        )
        print("; ".join(header["versions"].values()))
        for name, why in header["broken"].items():
            print(f"{name} is left out: {why}")

    def add(self, result: Result) -> None:
        """Print the line of a result."""
        if result.mode != self.mode:
            self._close()
            self.mode = result.mode
            forms = ["nncore out="] if self.mode == "predict" else []
            self.shown = [self.columns[0], *forms, *self.columns[1:]]
            print(f"\n{self.mode}: microseconds of {MODES[self.mode]}")
            print(
                f"{'':{NAME}}" + "".join(f"{name:>{_width(name)}}" for name in self.shown)
                + f"{'best peer':>{COLUMN}}{'floor':>{COLUMN}}{'of it':>7}"
            )  # fmt: skip
        self.results.append(result)
        print(_line(result, self.shown), flush=True)
        for name, why in result.failed.items():
            print(f"  FAILED, not timed: {name} on {result.case}: {why}", flush=True)

    def _close(self) -> None:
        """The end of a mode's table: the mean, and why there are holes."""
        results = [result for result in self.results if result.mode == self.mode]
        if not results:
            return
        ratios = [ratio for result in results if (ratio := result.ratio())]
        if ratios:
            print(f"geometric mean of best peer / nncore: {_mean(ratios):.2f}")
        for name in self.columns:
            whys = {result.missing[name] for result in results if name in result.missing}
            if whys:
                print(f"  {name}: {'; '.join(sorted(whys))}")

    def finish(self) -> dict[str, Any]:
        """Print what is said at the end; return the document."""
        self._close()
        ratios = [ratio for result in self.results if (ratio := result.ratio())]
        peaks = [result.peak for result in self.results]
        spread = sorted(value for result in self.results for value in result.spread.values())
        print()
        if ratios:
            print(
                f"geometric mean of best peer / nncore over all {len(ratios)} cases: "
                f"{_mean(ratios):.2f}"
            )
        print(
            f"FMA peak {1e-9 * min(peaks):.1f} to {1e-9 * max(peaks):.1f} GFLOP/s in this run",
            end="",
        )
        if spread:
            print(
                f"; quartiles of the bursts: {100 * spread[len(spread) // 2]:.0f} % apart at the "
                f"median, {100 * spread[-1]:.0f} % at most",
                end="",
            )
        print()
        document = {
            "format": FORMAT,
            "header": self.header,
            "results": [dataclasses.asdict(result) for result in self.results],
        }
        if n := failures(document):
            print(f"VERIFICATION FAILED {n} times; see above", file=sys.stderr)
        return document


def _line(result: Result, shown: list[str]) -> str:
    cells = []
    for name in shown:
        seconds = result.seconds.get(name) if " " in name else result.shown(name)
        failed = name.split(" ")[0] in result.failed
        text = "FAILED" if failed else _microseconds(seconds)
        cells.append(f"{text:>{_width(name)}}")
    ratio, ours = result.ratio(), result.ours()
    cells.append(f"{'-' if ratio is None else f'{ratio:.2f} x':>{COLUMN}}")
    cells.append(f"{_microseconds(result.floor):>{COLUMN}}")
    cells.append(f"{'-' if ours is None else f'{100 * result.floor / ours:.0f} %':>7}")
    return f"{_name(result):{NAME}}" + "".join(cells)


def _name(result: Result) -> str:
    return result.case.removesuffix(":float32")


def _width(name: str) -> int:
    return max(COLUMN, len(name) + 2)


def _microseconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    us = 1e6 * seconds
    return f"{us:.{4 if us < 0.1 else 2 if us < 10 else 1 if us < 1000 else 0}f}"


def _mean(ratios: list[float]) -> float:
    return math.exp(math.fsum(map(math.log, ratios)) / len(ratios))


def show(document: dict[str, Any]) -> None:
    """Print saved results."""
    printer = Printer(document["header"])
    for result in document["results"]:
        printer.add(Result(**result))
    printer.finish()


def failures(document: dict[str, Any]) -> int:
    """Return how many times a system failed."""
    failed = sum(len(result["failed"]) for result in document["results"])
    return failed + len(document["header"]["broken"])


def write(path: Path, document: dict[str, Any]) -> None:
    """Save a document as JSON."""
    path.write_text(json.dumps(document, indent=1) + "\n")


def read(path: Path) -> dict[str, Any]:
    """Return a saved document; ValueError if there is none."""
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}")
        for result in document["results"]:
            Result(**result)
        return document
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a file that `nncore bench --json` of this version wrote: {error}"
        ) from None


def compare(document: dict[str, Any], earlier: dict[str, Any]) -> None:
    """Print each time of `earlier` over the one of `document`: above 1 it has become faster."""
    before = {(r["mode"], r["case"]): Result(**r) for r in earlier["results"]}
    names = list(document["header"]["versions"])
    print(f"\nearlier ({earlier['header']['date']}) / now; above 1: faster now")
    print(f"{'':{8 + NAME}}" + "".join(f"{name:>{_width(name)}}" for name in names))
    ratios: dict[str, list[float]] = {name: [] for name in names}
    for result in (Result(**r) for r in document["results"]):
        old = before.get((result.mode, result.case))
        if old is None:
            continue
        cells = []
        for name in names:
            now, then = result.shown(name), old.shown(name)
            if now and then:
                ratios[name].append(then / now)
            cells.append(f"{f'{then / now:.3f}' if now and then else '-':>{_width(name)}}")
        print(f"{result.mode:8}{_name(result):{NAME}}" + "".join(cells))
    means = [
        f"{f'{_mean(found):.3f}' if found else '-':>{_width(name)}}"
        for name, found in ratios.items()
    ]
    print(f"{'geometric mean':{8 + NAME}}" + "".join(means))
    for key in ("processor", "threads", "isa"):
        if (now := document["header"][key]) != (then := earlier["header"][key]):
            print(f"  not comparable: {key} was {then!r}, is {now!r}")

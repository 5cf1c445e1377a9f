"""Run the benchmarks: ``python -m benchmarks [--quick] [--only NAME]``."""

import argparse
import importlib
import sys

PROGRAMS = tuple("ingest history demo headsmap bundle served freshness delays location".split())


def main() -> int:
    """Print every figure; 1 where one misses its limit.

    A quick run never fails for a figure: machines are shared, and small loads measure roughly.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller loads, rougher figures")
    parser.add_argument("--only", choices=PROGRAMS, help="one program instead of all")
    arguments = parser.parse_args()
    met = True
    for name in [arguments.only] if arguments.only else PROGRAMS:
        program = importlib.import_module(f"benchmarks.{name}")
        for figure in program.run(quick=arguments.quick):
            print(figure.line(), flush=True)
            met = met and figure.met
    return 0 if met or arguments.quick else 1


if __name__ == "__main__":
    sys.exit(main())

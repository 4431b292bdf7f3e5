"""Run the measurements: ``python -m benchmarks [--runs N] [--download MIB]``."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import version

from benchmarks import download, import_cost


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="counted runs of each candidate (default 7)")
    parser.add_argument("--download", type=int, default=1024, help="MiB of the download (default 1024)")
    args = parser.parse_args()
    print(
        f"Python {platform.python_version()}, Airflow {version('apache-airflow')}, "
        f"http provider {version('apache-airflow-providers-http')}\n"
    )
    print("Import cost of a DAG file, over airflow.sdk")
    print(import_cost.report(args.runs))
    print(f"\nDownload of {args.download} MiB to a file")
    print(download.report(max(1, args.runs // 2), args.download * download.MEBIBYTE))


if __name__ == "__main__":
    main()

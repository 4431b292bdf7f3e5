"""Run the measurements: ``python -m benchmarks [NAME ...]``, by default all of them."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import version

from benchmarks import download, hostile, import_cost, loop_gaps, waiting_jobs


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "which",
        nargs="*",
        choices=["import_cost", "download", "hostile", "waiting_jobs", "loop_gaps"],
        default=[],
        help="by default all",
    )
    parser.add_argument("--runs", type=int, default=7, help="counted runs of each candidate (default 7)")
    parser.add_argument("--download", type=int, default=1024, help="MiB of the download (default 1024)")
    args = parser.parse_args()
    print(
        f"Python {platform.python_version()}, Airflow {version('apache-airflow')}, "
        f"http provider {version('apache-airflow-providers-http')}\n"
    )
    if not args.which or "import_cost" in args.which:
        print("Import cost of a DAG file, over airflow.sdk")
        print(import_cost.report(args.runs))
    if not args.which or "download" in args.which:
        print(f"\nDownload of {args.download} MiB to a file")
        print(download.report(max(1, args.runs // 2), args.download * download.MEBIBYTE))
    if not args.which or "hostile" in args.which:
        print("\nHostile answers; seconds of the longest of three requests, memory over the idle process")
        print(hostile.report())
    if not args.which or "waiting_jobs" in args.which:
        print("\nA thousand waiting jobs in one event loop, all started at once")
        print(waiting_jobs.report())
    if not args.which or "loop_gaps" in args.which:
        print(
            "\nStatus responses that could block an event loop, and the longest gap between two of its turns"
        )
        print(loop_gaps.report())


if __name__ == "__main__":
    main()

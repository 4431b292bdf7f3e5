"""Stops what a program started if that program dies without a chance to do it (kill -9, a crash).

It reads the ids of the sessions to look after from standard input, ``+id`` and ``-id``, a line each. The
end of the input is the program's end, however that came about.
"""

from __future__ import annotations

import shutil
import sys

from demo.processes import stop_session


def main() -> None:
    """Read until the end; if sessions are left, stop them and remove the folder that was named, if any."""
    sessions: list[int] = []
    for line in sys.stdin:
        session = int(line[1:])
        if line.startswith("+"):
            sessions.append(session)
        else:
            sessions.remove(session)
    for session in reversed(sessions):
        stop_session(session, grace=5)
    if sessions:
        for folder in sys.argv[1:]:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

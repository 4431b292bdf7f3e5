"""How a command ends."""

from __future__ import annotations

__all__ = ["CANCELLED", "FAILED", "SUCCEEDED", "UNUSABLE", "CommandError"]

SUCCEEDED = 0
FAILED = 1
#: What argparse gives for arguments that it does not understand.
UNUSABLE = 2
#: What a shell gives for a process that SIGINT has ended.
CANCELLED = 130


class CommandError(Exception):
    """A command cannot do what it was asked for: nothing was sent.

    :param code: exit code.
    """

    def __init__(self, message: str, code: int = UNUSABLE) -> None:
        super().__init__(message)
        self.code = code

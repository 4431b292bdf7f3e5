"""Opening files to be sent: of this machine, or of any object storage that Airflow reaches."""

from __future__ import annotations

from typing import Any, BinaryIO, cast

from airflow_provider_apitask.drivers.upload import open_local

__all__ = ["open_file"]


def open_file(path: Any) -> BinaryIO:
    """Open a path, a URL such as ``s3://conn_id@bucket/key``, or a path object, for reading.

    Object storages are those of ``airflow.sdk.ObjectStoragePath``; their credentials are in the Airflow
    connection that the URL names.

    :raises Exception: whatever the storage raises.
    """
    if not isinstance(path, str):
        return cast("BinaryIO", path.open("rb"))
    if "://" not in path:
        return open_local(path)
    from airflow.sdk import ObjectStoragePath

    return cast("BinaryIO", ObjectStoragePath(path).open("rb"))

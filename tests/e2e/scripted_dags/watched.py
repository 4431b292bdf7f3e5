"""Two assets that are watched by one request to the same API, each with a DAG."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_apitask import ApiEventTrigger


def watched(name: str, **kwargs: Any) -> Asset:
    trigger = ApiEventTrigger(
        api_conn_id="watched",
        endpoint="/dataset",
        watermark="$.version",
        extract={"rows": "$.rows"},
        poll_interval=1,
        **kwargs,
    )
    return Asset(name, watchers=[AssetWatcher(name=f"{name}_watcher", trigger=trigger)])


def consumer(asset: Asset) -> None:
    with DAG(dag_id=f"use_{asset.name}", schedule=[asset], catchup=False):

        @task
        def read(triggering_asset_events: Any = None) -> Any:
            (events,) = [event for _, event in triggering_asset_events.items()]
            return [event.extra for event in events]

        read()


consumer(watched("published", fire_when={"$.state": "published"}))
consumer(watched("large", fire_when={"$.rows": {"min": 100}}))

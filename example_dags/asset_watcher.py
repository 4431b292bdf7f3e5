"""Run a DAG each time an API has published something new.

The triggerer asks for ``/catalogue`` once a minute, and updates the asset when an answer says that another
version is published.

The connection ``shop`` (type API task) holds the address of the API.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_apitask import ApiEventTrigger

trigger = ApiEventTrigger(
    api_conn_id="shop",
    endpoint="/catalogue",
    fire_when={"$.state": "published"},
    watermark="$.version",
    extract={"version": "$.version"},
    poll_interval=60,
)
catalogue = Asset("catalogue", watchers=[AssetWatcher(name="catalogue", trigger=trigger)])

with DAG(dag_id="example_asset_watcher", schedule=[catalogue], catchup=False, tags=["example"]):

    @task
    def versions(triggering_asset_events: Any = None) -> list[str]:
        events = triggering_asset_events[catalogue]
        return [event.extra["payload"]["values"]["version"] for event in events]

    versions()

"""The server side of the demo, run inside pygeoapi; Airflow never imports it."""

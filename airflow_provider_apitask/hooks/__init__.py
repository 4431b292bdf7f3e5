"""From an Airflow connection to an API that can be called."""

"""The commands of ``airflow apitask``."""

"""Shows the provider at work: a real Airflow calls a real asynchronous API, both on this machine.

Run ``python -m demo --help`` from the top of the repository. The end-to-end tests use the same services.
"""

"""The pure core: what an API call means, decided without a network, a clock or Airflow.

``operation`` holds the state machine. It asks for requests and waits, is told answers and
failures, and both drivers (blocking on a worker, event loop on a triggerer) only carry these.
"""

"""Triggers, and what passes between them and the worker."""

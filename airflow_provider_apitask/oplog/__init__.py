"""The operation log: hooks and sinks that are given a record of each operation."""

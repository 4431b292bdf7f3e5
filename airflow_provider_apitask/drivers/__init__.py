"""Two drivers for one state machine: they send and wait, and decide nothing."""

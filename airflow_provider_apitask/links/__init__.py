"""Links from a task instance to what it is about."""

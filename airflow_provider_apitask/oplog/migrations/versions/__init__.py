"""The versions of the table, one file each."""

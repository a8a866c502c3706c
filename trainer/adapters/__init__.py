"""Other programs' logs, a file each."""

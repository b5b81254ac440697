"""The `perfsage` command line: one file a command, composed in `main.py`."""

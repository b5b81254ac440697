"""The REST service: the predictor over HTTP, in the words of the command line's `--json`."""

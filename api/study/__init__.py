"""Studies: networks x devices x settings, measured or predicted, reported and compared."""

"""The doors: command line, REST service, and the workflows that they share. Nothing imports this package."""

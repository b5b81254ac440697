"""The CPU of this machine, measured with LiteRT."""

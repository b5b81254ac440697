"""Arm Ethos-U NPUs, estimated by Vela."""

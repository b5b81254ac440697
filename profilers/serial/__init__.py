"""Microcontrollers at a serial port, by the MLPerf Tiny protocol and an extension for uploading models."""

from profilers.serial.profiler import describe_serial, find_board, open_serial
from profilers.serial.settings import BoardSettings

__all__ = ["BoardSettings", "describe_serial", "find_board", "open_device", "open_serial"]

open_device = open_serial

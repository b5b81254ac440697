"""Microcontrollers, planned by TensorFlow Lite Micro."""

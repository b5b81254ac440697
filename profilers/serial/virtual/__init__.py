"""A board in software: TensorFlow Lite Micro behind a pseudo-terminal, speaking the firmware's protocol."""

"""Power monitors, and the energy of a window of their traces."""

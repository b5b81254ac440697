"""The networks that predict, the physics that they start from, and the baselines they are held against."""

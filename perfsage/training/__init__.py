"""Training, calibration, evaluation and export of predictors: needs the `train` extra."""

from perfsage.training.examples import Example, Target
from perfsage.training.options import Progress, Score, TrainingOptions, TrainingReport
from perfsage.training.splits import Split, leave_out, random_split
from perfsage.training.train import train

__all__ = [
    "Example",
    "Progress",
    "Score",
    "Split",
    "Target",
    "TrainingOptions",
    "TrainingReport",
    "leave_out",
    "random_split",
    "train",
]

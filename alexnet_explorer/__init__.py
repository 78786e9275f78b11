"""Train, inspect and ablate the AlexNet of 2012."""

__version__ = "0.1.0"

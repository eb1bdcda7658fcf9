"""Layers: descriptions that lower themselves to steps of the engine. No arithmetic is here."""

from .base import Layer, Step, Tuning
from .dense import Dense

__all__ = ["Dense", "Layer", "Step", "Tuning"]

"""Judges: who hears what was said, whose voice it is, how it sounds."""

from .base import Judges, MosPredictor, Recogniser, SpeakerEncoder
from .registry import open_judges, register

__all__ = ["Judges", "MosPredictor", "Recogniser", "SpeakerEncoder", "open_judges", "register"]

"""Judges: who hears what was said, whose voice it is, how it sounds."""

from .base import Judges, MosPredictor, PhonemeListener, Recogniser, SpeakerEncoder
from .registry import open_judges, register

__all__ = ["Judges", "MosPredictor", "PhonemeListener", "Recogniser", "SpeakerEncoder", "open_judges", "register"]

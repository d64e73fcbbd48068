"""Evaluation: a list of texts is spoken, or found spoken, and judged by a recogniser, a speaker encoder and a quality
predictor."""

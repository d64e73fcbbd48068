"""Checkpoints on disk: layout, validation, reading, conversion and download, all without torch."""

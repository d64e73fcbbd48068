"""Training of the codec: `sparktts train codec CONFIG.yaml`."""

"""Training of a small semantic-feature encoder in wav2vec2 architecture, distilled from a larger encoder."""

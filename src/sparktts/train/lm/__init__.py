"""Training of the language model: sequences, packing, network, loss, adapters, export."""

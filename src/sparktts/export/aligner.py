"""The word recogniser as a graph."""

from __future__ import annotations

from pathlib import Path

from ..checkpoint.aligner import read_aligner
from ..checkpoint.layout import Checkpoint
from .graph import Graph, Layers, Storage
from .report import PartReport, Progress


def export_aligner(checkpoint: Checkpoint, folder: Path, storage: Storage, progress: Progress) -> PartReport:
    """Writes aligner.onnx into `folder`. Raises CheckpointError, OSError."""
    progress("the word recogniser")
    config, tensors = read_aligner(checkpoint.aligner_dir)
    graph = Graph("aligner", storage)
    layers = Layers(graph, tensors)
    features = graph.input("features", [1, "T", config.input_dim])
    x = graph.op("Mul", graph.op("Sub", features, layers.tensor("mean")), layers.tensor("scale"))
    x = graph.op("Gelu", layers.conv(graph.swap(x), "first", config.kernel // 2))
    x = graph.op("Gelu", layers.conv(x, "second", config.kernel // 2))
    log_probs = graph.op("LogSoftmax", layers.linear(graph.swap(x), "head"), axis=-1)
    graph.output("log_probs", log_probs, [1, "T", len(config.symbols) + 1])
    return PartReport("aligner", storage.name, graph.save(folder / "aligner.onnx"))

"""What an export says of itself: how far each part is from the networks that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Progress = Callable[[str], None]  # is told what is being done, in a few words


@dataclass(frozen=True)
class PartReport:
    """One exported part.

    weights: how its big matrices are stored (fp32, fp16, int8, int4); files: names inside onnx/; max_difference: the
    largest difference from the torch engine on the same input, as a share of the largest value, None where there is
    nothing to compare; agreement: share of equal tokens, 0..1, None where the part gives none; notes: sentences for
    people; settings: what the engine must know to run the graphs, kept in the manifest as the part's entry (plain JSON
    values).
    """

    name: str
    weights: str
    files: tuple[str, ...]
    max_difference: float | None = None
    agreement: float | None = None
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def compared(self) -> bool:
        """Whether it computes anything that can be compared."""
        return self.max_difference is not None

    def verification(self) -> dict[str, Any]:
        """What the manifest keeps of the comparison."""
        return {
            "part": self.name,
            "weights": self.weights,
            "files": list(self.files),
            "max_difference": self.max_difference,
            "agreement": self.agreement,
            "notes": list(self.notes),
        }

    def sentence(self) -> str:
        """The comparison in words."""
        if self.max_difference is None:
            return f"{self.name}: {self.weights}, not compared"
        agreed = "" if self.agreement is None else f", {self.agreement:.1%} of tokens equal"
        return f"{self.name}: {self.weights}, largest difference {self.max_difference:.1e} of the largest value{agreed}"


@dataclass(frozen=True)
class ExportReport:
    """A whole export. bytes: of everything in onnx/."""

    path: Path
    weights: str
    parts: tuple[PartReport, ...]
    bytes: int

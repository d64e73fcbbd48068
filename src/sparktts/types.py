"""Names for the few values that travel through every layer."""

from typing import Literal

Language = Literal["zh", "en"]
Gender = Literal["female", "male"]
Level = Literal["very_low", "low", "moderate", "high", "very_high"]
Reference = Literal["whole", "first-6s"]

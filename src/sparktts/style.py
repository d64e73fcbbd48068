"""Style: gender, pitch and speed, as levels or exact values, and the tokens that can say them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

from .errors import OptionError
from .prompt import Controls
from .types import Gender, Language, Level

LEVELS: tuple[Level, ...] = get_args(Level)
GENDERS: tuple[Gender, ...] = get_args(Gender)

# Upper bounds of the levels very_low .. high (facts of the training data: VoxBox percentiles).
PITCH_BOUNDS: dict[Gender | None, tuple[float, ...]] = {  # mel
    "male": (144.275, 163.172, 211.044, 249.549),
    "female": (224.325, 257.532, 313.213, 352.569),
    None: (184.300, 210.352, 262.129, 301.059),  # halfway, for voices of unknown gender
}
SPEED_BOUNDS: dict[Language, tuple[float, ...]] = {  # syllables a second
    "zh": (2.677, 3.54, 5.166, 6.072),
    "en": (2.553, 3.306, 4.72, 5.464),
}
PITCH_RANGE = (50.0, 1000.0)  # Hz
SPEED_RANGE = (0.5, 10.0)  # syllables a second


@dataclass(frozen=True)
class Style:
    """How a voice sounds and speaks.

    gender: "female" or "male" (needed to create a voice). pitch: a level ("very_low", "low", "moderate", "high",
    "very_high") or mean F0 in Hz. speed: a level or syllables a second. None leaves the choice to the model.
    Raises OptionError.
    """

    gender: Gender | None = None
    pitch: Level | float | None = None
    speed: Level | float | None = None

    def __post_init__(self) -> None:
        if self.gender is not None and self.gender not in GENDERS:
            raise OptionError(f"{self.gender!r} is not a gender: use female or male.")
        _check("pitch", self.pitch, PITCH_RANGE, "Hz")
        _check("speed", self.speed, SPEED_RANGE, "syllables a second")

    def controls(self, language: Language, gender: Gender | None = None) -> Controls:
        """The tokens that say this style best. gender: that of a voice being cloned, if known."""
        gender = self.gender or gender
        pitch = int(mel(self.pitch)) if isinstance(self.pitch, (int, float)) else None
        speed = int(self.speed) if isinstance(self.speed, (int, float)) else None
        # Levels are those of the values as asked for, but a pitch's is that of its token, so that both agree.
        return Controls(
            gender=None if gender is None else GENDERS.index(gender),
            pitch_label=_level(self.pitch if pitch is None else pitch, PITCH_BOUNDS[gender]),
            speed_label=_level(self.speed, SPEED_BOUNDS[language]),
            pitch_value=pitch,
            speed_value=speed,
        )

    def rate(self, language: Language) -> float | None:
        """Syllables a second to expect, if the style says so."""
        if self.speed is None or isinstance(self.speed, (int, float)):
            return self.speed
        low, *_, high = bounds = SPEED_BOUNDS[language]
        edges = (low - 0.5, *bounds, high + 0.5)
        index = LEVELS.index(self.speed)
        return (edges[index] + edges[index + 1]) / 2

    def pitch_band(self, gender: Gender | None = None) -> tuple[float, float] | None:
        """Mean F0 in Hz, lowest and highest, that is what was asked for; None: any. gender: as for `controls`."""
        if self.pitch is None or isinstance(self.pitch, (int, float)):
            return None if self.pitch is None else (self.pitch, self.pitch)
        lowest, highest = PITCH_RANGE
        edges = (lowest, *map(hertz, PITCH_BOUNDS[self.gender or gender]), highest)
        index = LEVELS.index(self.pitch)
        return edges[index], edges[index + 1]


def describe(controls: Controls, exact: bool) -> str:
    """What the tokens ask for, in words. exact: values are prefilled (creation), not only levels said (cloning)."""
    parts = []
    if controls.pitch_label is not None:
        value = f"{hertz(controls.pitch_value):.0f} Hz, " if exact and controls.pitch_value is not None else ""
        parts.append(f"pitch {value}{LEVELS[controls.pitch_label]}")
    if controls.speed_label is not None:
        value = f"{controls.speed_value} syllables/s, " if exact and controls.speed_value is not None else ""
        parts.append(f"speed {value}{LEVELS[controls.speed_label]}")
    return "; ".join(parts)


def parse_amount(text: str | None) -> Level | float | None:
    """A level or a number from the command line, as Style takes them. Raises OptionError."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        name = text.strip().lower().replace("-", "_").replace(" ", "_")
    for level in LEVELS:
        if name == level:
            return level
    raise OptionError(f"{text!r} is neither a number nor one of {', '.join(LEVELS)}.")


def mel(frequency: float) -> float:
    """Mel value of a frequency in Hz, as the pitch tokens count it."""
    return 2595 * math.log10(1 + frequency / 700)


def hertz(pitch: float) -> float:
    """Inverse of `mel`."""
    return 700 * (math.pow(10, pitch / 2595) - 1)


def _level(amount: Level | float | None, bounds: tuple[float, ...]) -> int | None:
    if amount is None:
        return None
    if isinstance(amount, (int, float)):
        return sum(amount >= bound for bound in bounds)
    return LEVELS.index(amount)


def _check(name: str, amount: Level | float | None, limits: tuple[float, float], unit: str) -> None:
    low, high = limits
    if isinstance(amount, (int, float)):
        if not low <= amount <= high:
            raise OptionError(f"A {name} of {amount:g} is out of range: use {low:g} to {high:g} {unit}.")
    elif amount is not None and amount not in LEVELS:
        raise OptionError(f"{amount!r} is not a {name}: use a number ({unit}) or one of {', '.join(LEVELS)}.")

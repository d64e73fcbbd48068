"""Voices to speak with: blends of the teacher's, as they are or moved up and down as a whole."""

from __future__ import annotations

import random
from dataclasses import dataclass

# The teacher's voices: two letters for language and gender, then a name.
_STOCK = """
af_alloy af_aoede af_bella af_heart af_jessica af_kore af_nicole af_nova af_river af_sarah af_sky
am_adam am_echo am_eric am_fenrir am_liam am_michael am_onyx am_puck am_santa
bf_alice bf_emma bf_isabella bf_lily bm_daniel bm_fable bm_george bm_lewis
ef_dora em_alex em_santa ff_siwis hf_alpha hf_beta hm_omega hm_psi if_sara im_nicola
jf_alpha jf_gongitsune jf_nezumi jf_tebukuro jm_kumo pf_dora pm_alex pm_santa
zf_xiaobei zf_xiaoni zf_xiaoxiao zf_xiaoyi zm_yunjian zm_yunxi zm_yunxia zm_yunyang
"""
STOCK = tuple(_STOCK.split())
# Never heard in training, alone or in a blend: the voices of the evaluation.
HELD_OUT = frozenset(["af_nova", "am_puck", "bf_emma", "bm_lewis", "zf_xiaoyi", "zm_yunxia"])
_UNCLEAR = frozenset({"zf_xiaoni"})  # often misread by a recogniser
_USABLE = tuple(name for name in STOCK if name not in HELD_OUT | _UNCLEAR)
ENGLISH = tuple(name for name in _USABLE if name[0] in "ab")
MANDARIN = tuple(name for name in _USABLE if name[0] == "z")

LEAST_SHIFT, MOST_SHIFT = 0.85, 1.18
SMALL_SHIFT = 0.05  # up to which a voice keeps its gender
# Hz. Between them a voice that was moved is neither clearly a man's nor clearly a woman's.
_MALE_BELOW, _FEMALE_ABOVE = 145.0, 185.0


@dataclass(frozen=True)
class Voice:
    """parts: (stock voice, weight); gender: of all of them; shift: by which all frequencies are multiplied."""

    parts: tuple[tuple[str, float], ...]
    gender: str
    shift: float = 1.0

    @property
    def name(self) -> str:
        """One name for one speaker: moved, a voice counts as somebody else's."""
        blend = "+".join(f"{name}:{weight:.2f}" for name, weight in self.parts)
        return blend if self.shift == 1.0 else f"{blend}@{self.shift:.2f}"


def choose_voice(rng: random.Random, language: str) -> Voice:
    """A blend within one gender, at least half of it a voice of the language; every second one is moved."""
    letter = rng.choice("fm")
    own = ENGLISH if language == "en" else MANDARIN
    # Mandarin with English words: half of each.
    more = ENGLISH if language == "mix" else _USABLE
    count = 1 if language == "mix" else rng.choices((0, 1, 2), (0.25, 0.5, 0.25))[0]
    first = rng.choice([name for name in own if name[1] == letter])
    others = rng.sample([name for name in more if name[1] == letter and name != first], count)
    shift = round(rng.uniform(LEAST_SHIFT, MOST_SHIFT), 2) if rng.random() < 0.5 else 1.0
    return Voice(_weighted(rng, first, others), "female" if letter == "f" else "male", shift)


def heard_gender(voice: Voice, f0: float | None) -> str | None:
    """What to call the gender of a voice whose mean F0 in Hz was measured; None: nothing."""
    if round(abs(voice.shift - 1.0), 2) <= SMALL_SHIFT:
        return voice.gender
    if f0 is None or _MALE_BELOW <= f0 <= _FEMALE_ABOVE:
        return None
    return "male" if f0 < _MALE_BELOW else "female"


def _weighted(rng: random.Random, first: str, others: list[str]) -> tuple[tuple[str, float], ...]:
    draws = [rng.gammavariate(2.0, 1.0) for _ in (first, *others)]
    weights = [round(0.5 * draw / sum(draws), 2) for draw in draws[1:]]
    return (
        (first, round(1.0 - sum(weights), 2)),
        *((name, weight) for name, weight in zip(others, weights, strict=True)),
    )

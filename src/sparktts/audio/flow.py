"""Joining utterances while they arrive: what `join` does, by what is known when each sample has to go out."""

from __future__ import annotations

import numpy as np

from .join import FADE, KEEP, MOST_GAIN
from .samples import Samples
from .silence import frame_levels, frame_size

_RANGE = 40.0  # dB below the loudest frame so far: quieter is silence
_FLOOR = -60.0  # dBFS: silence in any case, as when nothing loud has been heard yet
_SURE = 1.0  # seconds of sound by which half of a difference in level is believed

_NOTHING = np.zeros(0, np.float32)


class Flow:
    """One signal of several utterances, each of which comes in parts: `begin`, `add` ..., `end`.

    Silence before an utterance's first sound is left out. Silence inside it goes out as long as it is no longer than
    the pause that is to follow, and is then held back until sound follows; at the end it counts as pause. The first
    utterance keeps its level. The gain of a later one is fixed when its first sample goes out: towards the level of
    the first one, the further the more of it is known by then.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate, self._frame = sample_rate, frame_size(sample_rate)
        self._keep, self._fade = round(KEEP * sample_rate), round(FADE * sample_rate)
        self._loudest = float("-inf")  # dBFS
        self._level = 0.0  # RMS of the first utterance's sound
        self.silence = 0  # samples at the end of what `end` returned
        self.begin(0.0)

    def begin(self, pause: float) -> None:
        """A new utterance, or another attempt at one of which nothing has gone out. pause: seconds that will follow."""
        self._allowed = round(pause * self._rate)
        self.started = False  # whether something of it has gone out
        self._held = _NOTHING
        self._quiet = 0  # samples that went out since its last sound
        self._gain = 1.0
        self._energy, self._sounding, self._peak = 0.0, 0, 0.0

    def add(self, samples: Samples, whole: bool = False) -> Samples:
        """What may go out now. samples: (N,) the next ones of the utterance; whole: these are all it has."""
        self._measure(samples)
        held = np.concatenate([self._held, samples])
        sounding = np.flatnonzero(self._active(held))
        if not self.started:
            if not sounding.size:
                self._held = held[self._whole_frames(len(held) - self._keep) :]
                return _NOTHING
            held = held[max(0, int(sounding[0]) * self._frame - self._keep) :]
            sounding = np.flatnonzero(self._active(held))
        end = self._end_of_sound(sounding, held)
        count = self._whole_frames(min(end + self._keep + self._allowed, len(held) - self._fade))
        self._held = held[count:]
        self._quiet = self._quiet + count if not sounding.size else max(0, count - end)
        return self._out(held[:count], whole)

    def end(self, pause: float) -> Samples:
        """The end of the utterance, and the pause after it in seconds; `silence`: samples of it that were added."""
        held, length = self._held, round(pause * self._rate)
        if not self.started and not np.any(self._active(held)):
            self.silence = length
            return np.zeros(length, np.float32)
        sounding = np.flatnonzero(self._active(held))
        end = self._end_of_sound(sounding, held)
        count = min(len(held), max(end + self._keep, self._fade))
        quiet = self._quiet + count if not sounding.size else count - end
        last = self._out(held[:count], whole=True)
        size = min(self._fade, len(last))
        if size:
            last[len(last) - size :] *= _ramp(size)[::-1]
        if not self._level and self._sounding:
            self._level = float(np.sqrt(self._energy / self._sounding))
        self._held, self.silence = _NOTHING, max(0, length - max(0, quiet - self._keep))
        return np.concatenate([last, np.zeros(self.silence, np.float32)])

    def _whole_frames(self, samples: int) -> int:
        """So many samples, rounded down to frames: where they begin does not depend on the parts that came."""
        return max(0, samples // self._frame * self._frame)

    def _end_of_sound(self, sounding: np.ndarray[tuple[int], np.dtype[np.intp]], held: Samples) -> int:
        """The sample of `held` after its last sound; without one, below 0 by the silence that has gone out."""
        return min(len(held), (int(sounding[-1]) + 1) * self._frame) if sounding.size else -self._quiet

    def _active(self, samples: Samples) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.asarray(frame_levels(samples, self._rate) >= max(self._loudest - _RANGE, _FLOOR))

    def _measure(self, samples: Samples) -> None:
        """Takes the level of new samples into account."""
        levels = frame_levels(samples, self._rate)
        self._loudest = max(self._loudest, float(levels.max(initial=-np.inf)))
        self._peak = max(self._peak, float(np.abs(samples).max(initial=0.0)))
        active = np.repeat(self._active(samples), self._frame)[: len(samples)]
        self._energy += float(np.square(samples[active], dtype=np.float64).sum())
        self._sounding += int(active.sum())

    def _out(self, samples: Samples, whole: bool) -> Samples:
        """Samples as they go out: with the utterance's gain, rising from zero at its beginning."""
        if not samples.size:
            return _NOTHING
        begins = not self.started
        if begins:
            self.started = True
            self._gain = self._fitting_gain(whole)
        out: Samples = np.clip(samples * np.float32(self._gain), -1.0, 1.0).astype(np.float32)
        if begins:
            size = min(self._fade, len(out))
            out[:size] *= _ramp(size)
        return out

    def _fitting_gain(self, whole: bool) -> float:
        if not self._level or not self._sounding:
            return 1.0
        level = float(np.sqrt(self._energy / self._sounding))
        seconds = self._sounding / self._rate
        share = 1.0 if whole else seconds / (seconds + _SURE)
        gain: float = min(max(self._level / level, 1 / MOST_GAIN), MOST_GAIN) ** share
        return min(gain, max(1.0, 1.0 / self._peak))  # louder only as far as the peak so far allows


def _ramp(size: int) -> Samples:
    return (0.5 - 0.5 * np.cos(np.pi * np.arange(size) / max(1, size))).astype(np.float32)

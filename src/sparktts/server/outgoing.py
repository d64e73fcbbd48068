"""What leaves the server: chunks of speech, stretched and encoded."""

from __future__ import annotations

from ..audio.live import LiveEncoder
from ..audio.stretch import Stretch
from ..streaming import SpeechStream
from .requests import PCM_RATE, AudioFormat


class Outgoing:
    """The bytes of a stream in one format. speed: at which it is played, at the same pitch."""

    def __init__(self, stream: SpeechStream, format: AudioFormat, speed: float = 1.0) -> None:
        self.stream, self._format = stream, format
        self._stretch = None if speed == 1.0 else Stretch(stream.sample_rate, speed)
        self._encoder: LiveEncoder | None = None
        self._ended = False

    @property
    def sample_rate(self) -> int:
        """Hz, of what comes out."""
        return self._opened().rate

    def next(self) -> bytes | None:
        """The next bytes, perhaps none yet; None after the last ones. Waits for the model. Raises SparkTTSError."""
        if self._ended:
            return None
        for chunk in self.stream:
            samples = self._stretch.add(chunk.samples) if self._stretch else chunk.samples
            return self._opened().add(samples)
        self._ended = True
        rest = self._opened().add(self._stretch.end()) if self._stretch else b""
        return rest + self._opened().end()

    def _opened(self) -> LiveEncoder:
        """Made with the first chunk, when it is known who speaks."""
        if self._encoder is None:
            rate = PCM_RATE if self._format == "pcm" else None
            self._encoder = LiveEncoder(self.stream.sample_rate, self._format, self.stream.metadata, rate)
        return self._encoder

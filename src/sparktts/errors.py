"""Errors whose message is one clear sentence for a person: what is wrong, and the way out."""


class SparkTTSError(Exception):
    """Base of every error that a user can cause or mend; interfaces show its message and no traceback."""


class AudioError(SparkTTSError):
    """An audio file or signal cannot be read, written or used."""


class TextError(SparkTTSError):
    """A text holds nothing that can be spoken, or cannot be read."""


class OptionError(SparkTTSError):
    """An option, or a combination of options, makes no sense."""


class CheckpointError(SparkTTSError):
    """A model directory is incomplete, damaged, or not what its configuration says."""


class VoiceError(SparkTTSError):
    """A voice is unknown, damaged, or belongs to another codec."""


class InvalidTokens(SparkTTSError):
    """Tokens are outside the codebooks of the codec, or of the wrong number."""


class GenerationError(SparkTTSError):
    """The language model did not produce usable speech for a sentence, even after retries."""

"""Configurations of a checkpoint, every dimension read from its files and validated.

Values that the published files leave to the published code are fields too: their defaults are the constants
below, and a file may override them under the field's own name. Source: arXiv 2503.01710, the official shapes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import CheckpointError
from ..sampling import PUBLISHED_TEMPERATURE
from .fields import Section, read_json, read_yaml

SAMPLING_BLOCK_LAYERS = 2  # ConvNeXt layers of the backbone behind each sampling block
CONVNEXT_KERNEL = 7  # embedding and depthwise convolutions alike
ECAPA_CHANNELS = 512
ECAPA_FIRST_KERNEL = 5
ECAPA_KERNEL = 3
ECAPA_DILATIONS = (2, 3, 4)  # one SE-Res2 block each
ECAPA_SCALE = 8
ECAPA_SE_BOTTLENECK = 128
ECAPA_POOL_BOTTLENECK = 128
ECAPA_FEATURES = 1536
PERCEIVER_DEPTH = 2
PERCEIVER_HEADS = 8
PERCEIVER_HEAD_DIM = 64
PERCEIVER_FF_MULT = 4
FRAME_HOP = 320  # samples per token of decoders that work at the token rate
WAVE_KERNEL = 7  # first, last and dilated convolutions of the waveform decoder
WAVE_DILATIONS = (1, 3, 9)  # one residual unit each
MAX_LAYERS = 512
MAX_TAKES = 8  # of one utterance
# Hidden states of wav2vec2 that the published codec averages. Source: arXiv 2503.01710, section 3.
FEATURE_DIRECTORY = "wav2vec2-large-xlsr-53"
FEATURE_LAYERS = (11, 14, 16)
KERNEL_LIMIT = 1023


@dataclass(frozen=True)
class FeatureOptions:
    """Where semantic features come from: the mean of hidden states of a model in wav2vec2 architecture.

    directory: the model's, inside the checkpoint; layers: state n is the output of transformer layer n, counted from 1,
    before any norm behind the last layer. Absent in a file: those of the published codec.
    """

    directory: str = FEATURE_DIRECTORY
    layers: tuple[int, ...] = FEATURE_LAYERS

    @classmethod
    def read(cls, part: Section) -> FeatureOptions:
        """Reads the section `features`. Raises CheckpointError naming file and key."""
        if unknown := sorted(set(part.values) - {"directory", "layers"}, key=str):
            raise part.error(str(unknown[0])[:40], "is unknown here; there are `directory` and `layers`")
        layers = part.integers("layers", high=MAX_LAYERS)
        if sorted(set(layers)) != list(layers):
            raise part.error("layers", f"must be rising numbers of layers, not {list(layers)}")
        return cls(part_directory(part, "directory"), layers)


@dataclass(frozen=True)
class CodecOptions:
    """Top-level config.yaml. sample_rate in Hz, durations in s, latent_hop_length in samples per token.

    text_frontend: what the language model reads; text_order: all of it before the speech, or word by word on demand;
    aligner: directory of the recogniser that finds the word times of a clip (for text on demand); default_voice: name
    of the preset that speaks where no voice is asked for; temperature: of sampling, where none is asked for;
    takes: times that each utterance is said, for the aligner to choose the best.
    """

    sample_rate: int
    latent_hop_length: int
    ref_segment_duration: float
    segment_duration: float
    volume_normalize: bool
    highpass_cutoff_freq: float
    features: FeatureOptions = FeatureOptions()
    text_frontend: Literal["text", "phonemes"] = "text"
    text_order: Literal["text_first", "on_demand"] = "text_first"
    aligner: str | None = None
    default_voice: str | None = None
    temperature: float = PUBLISHED_TEMPERATURE
    takes: int = 1

    @classmethod
    def read(cls, path: Path) -> CodecOptions:
        """Reads config.yaml. Raises CheckpointError naming file and key."""
        top = read_yaml(path)
        return cls(
            sample_rate=top.integer("sample_rate", low=1000, high=384000),
            latent_hop_length=top.integer("latent_hop_length", high=1 << 16),
            ref_segment_duration=top.number("ref_segment_duration", low=0.1, high=3600),
            segment_duration=top.number("segment_duration", 2.4, low=0.01, high=3600),
            volume_normalize=top.flag("volume_normalize", True),
            highpass_cutoff_freq=top.number("highpass_cutoff_freq", 0.0),
            features=FeatureOptions.read(top.section("features")) if top.has("features") else FeatureOptions(),
            text_frontend="phonemes" if _choice(top, "text_frontend", "text", "phonemes") else "text",
            text_order="on_demand" if _choice(top, "text_order", "text_first", "on_demand") else "text_first",
            aligner=part_directory(top, "aligner") if top.has("aligner") else None,
            default_voice=top.text("default_voice") if top.has("default_voice") else None,
            temperature=top.number("temperature", PUBLISHED_TEMPERATURE, high=5.0),
            takes=top.integer("takes", 1, high=MAX_TAKES),
        )


@dataclass(frozen=True)
class MelConfig:
    """Mel spectrogram: frequencies in Hz, lengths in samples. `mel_fmax: null` means half the sample rate."""

    sample_rate: int
    n_fft: int
    win_length: int
    hop_length: int
    mel_fmin: float
    mel_fmax: float
    num_mels: int

    @classmethod
    def read(cls, part: Section) -> MelConfig:
        rate = part.integer("sample_rate", low=1000, high=384000)
        n_fft = part.integer("n_fft", low=2, high=1 << 16)
        mel = cls(
            sample_rate=rate,
            n_fft=n_fft,
            win_length=part.integer("win_length", high=n_fft),
            hop_length=part.integer("hop_length", high=1 << 16),
            mel_fmin=part.number("mel_fmin", high=rate / 2),
            mel_fmax=part.number("mel_fmax", high=rate / 2) if part.has("mel_fmax") else rate / 2,
            num_mels=part.integer("num_mels", high=4096),
        )
        if mel.mel_fmin >= mel.mel_fmax:
            raise part.error("mel_fmin", f"must be below `mel_fmax`, {mel.mel_fmax:g} Hz")
        return mel


@dataclass(frozen=True)
class BackboneConfig:
    """A ConvNeXt stack: encoder, prenet or postnet. condition_dim 0: no condition, plain layer norms."""

    input_channels: int
    vocos_dim: int
    vocos_intermediate_dim: int
    vocos_num_layers: int
    out_channels: int
    sample_ratios: tuple[int, ...]
    condition_dim: int = 0
    use_tanh_at_final: bool = False
    sampling_block_layers: int = SAMPLING_BLOCK_LAYERS
    kernel_size: int = CONVNEXT_KERNEL

    @classmethod
    def read(cls, part: Section) -> BackboneConfig:
        ratios = part.integers("sample_ratios", (1, 1), least=0)
        if set(ratios) - {1}:
            raise part.error(
                "sample_ratios",
                f"is {list(ratios)}, but only ratios of 1 are supported: no published checkpoint resamples",
            )
        return cls(
            input_channels=part.integer("input_channels"),
            vocos_dim=part.integer("vocos_dim"),
            vocos_intermediate_dim=part.integer("vocos_intermediate_dim"),
            vocos_num_layers=part.integer("vocos_num_layers", high=MAX_LAYERS),
            out_channels=part.integer("out_channels"),
            sample_ratios=ratios,
            condition_dim=part.integer("condition_dim") if part.has("condition_dim") else 0,
            use_tanh_at_final=part.flag("use_tanh_at_final", False),
            sampling_block_layers=part.integer("sampling_block_layers", SAMPLING_BLOCK_LAYERS, low=0, high=MAX_LAYERS),
            kernel_size=_odd(part, "kernel_size", CONVNEXT_KERNEL),
        )

    @property
    def reach(self) -> int:
        """Frames on each side of a frame that influence it."""
        convolutions = 1 + self.vocos_num_layers
        convolutions += len(self.sample_ratios) * (1 + self.sampling_block_layers)
        return convolutions * (self.kernel_size // 2)


@dataclass(frozen=True)
class QuantizerConfig:
    """Factorised vector quantiser of the semantic tokens."""

    input_dim: int
    codebook_size: int
    codebook_dim: int
    use_l2_normalize: bool
    commitment: float
    codebook_loss_weight: float
    threshold_ema_dead_code: float

    @classmethod
    def read(cls, part: Section) -> QuantizerConfig:
        return cls(
            input_dim=part.integer("input_dim"),
            codebook_size=part.integer("codebook_size"),
            codebook_dim=part.integer("codebook_dim"),
            use_l2_normalize=part.flag("use_l2_normlize", True),  # the published spelling
            commitment=part.number("commitment", 0.25),
            codebook_loss_weight=part.number("codebook_loss_weight", 2.0),
            threshold_ema_dead_code=part.number("threshold_ema_dead_code", 0.2),
        )


@dataclass(frozen=True)
class SpeakerEncoderConfig:
    """ECAPA-TDNN, perceiver and finite scalar quantiser: mel frames to `token_num` global tokens.

    input_dim mel bins; out_dim values of the x-vector and d-vector; latent_dim per token before quantisation.
    """

    input_dim: int
    out_dim: int
    latent_dim: int
    token_num: int
    fsq_levels: tuple[int, ...]
    fsq_num_quantizers: int = 1
    ecapa_channels: int = ECAPA_CHANNELS
    ecapa_first_kernel: int = ECAPA_FIRST_KERNEL
    ecapa_kernel: int = ECAPA_KERNEL
    ecapa_dilations: tuple[int, ...] = ECAPA_DILATIONS
    ecapa_scale: int = ECAPA_SCALE
    ecapa_se_bottleneck: int = ECAPA_SE_BOTTLENECK
    ecapa_pool_bottleneck: int = ECAPA_POOL_BOTTLENECK
    ecapa_features: int = ECAPA_FEATURES
    perceiver_depth: int = PERCEIVER_DEPTH
    perceiver_heads: int = PERCEIVER_HEADS
    perceiver_head_dim: int = PERCEIVER_HEAD_DIM
    perceiver_ff_mult: int = PERCEIVER_FF_MULT

    @classmethod
    def read(cls, part: Section) -> SpeakerEncoderConfig:
        config = cls(
            input_dim=part.integer("input_dim"),
            out_dim=part.integer("out_dim"),
            latent_dim=part.integer("latent_dim"),
            token_num=part.integer("token_num", high=4096),
            fsq_levels=part.integers("fsq_levels", low=2, high=1024),
            fsq_num_quantizers=part.integer("fsq_num_quantizers", 1),
            ecapa_channels=part.integer("ecapa_channels", ECAPA_CHANNELS),
            ecapa_first_kernel=_odd(part, "ecapa_first_kernel", ECAPA_FIRST_KERNEL),
            ecapa_kernel=_odd(part, "ecapa_kernel", ECAPA_KERNEL),
            ecapa_dilations=part.integers("ecapa_dilations", ECAPA_DILATIONS, high=KERNEL_LIMIT),
            ecapa_scale=part.integer("ecapa_scale", ECAPA_SCALE, low=2, high=4096),
            ecapa_se_bottleneck=part.integer("ecapa_se_bottleneck", ECAPA_SE_BOTTLENECK),
            ecapa_pool_bottleneck=part.integer("ecapa_pool_bottleneck", ECAPA_POOL_BOTTLENECK),
            ecapa_features=part.integer("ecapa_features", ECAPA_FEATURES),
            perceiver_depth=part.integer("perceiver_depth", PERCEIVER_DEPTH, high=MAX_LAYERS),
            perceiver_heads=part.integer("perceiver_heads", PERCEIVER_HEADS),
            perceiver_head_dim=part.integer("perceiver_head_dim", PERCEIVER_HEAD_DIM),
            perceiver_ff_mult=part.integer("perceiver_ff_mult", PERCEIVER_FF_MULT, high=1024),
        )
        config._validate(part)
        return config

    def _validate(self, part: Section) -> None:
        if self.fsq_num_quantizers != 1:
            raise part.error("fsq_num_quantizers", f"must be 1, not {self.fsq_num_quantizers}")
        if math.prod(self.fsq_levels) > 1 << 31:
            raise part.error("fsq_levels", "gives more codes than a 32-bit token can name")
        if self.latent_dim == len(self.fsq_levels):
            # The published quantiser then has no projections, which are what identifies a codec's tokens.
            raise part.error("latent_dim", "must differ from the number of `fsq_levels`")
        if self.ecapa_channels % self.ecapa_scale:
            raise part.error("ecapa_channels", f"must be a multiple of `ecapa_scale`, {self.ecapa_scale}")

    @property
    def codes(self) -> int:
        """Values that one global token can take."""
        return math.prod(self.fsq_levels)

    @property
    def ff_inner(self) -> int:
        """Width of the perceiver's feed-forward layer: two thirds of the multiple, as a gate doubles it."""
        return int(self.latent_dim * self.perceiver_ff_mult * 2 / 3)


@dataclass(frozen=True)
class DecoderConfig:
    """Waveform decoder: one transposed convolution of stride rates[i] and width kernel_sizes[i] per block."""

    input_channel: int
    channels: int
    rates: tuple[int, ...]
    kernel_sizes: tuple[int, ...]
    kernel_size: int = WAVE_KERNEL
    dilations: tuple[int, ...] = WAVE_DILATIONS

    @classmethod
    def read(cls, part: Section) -> DecoderConfig:
        config = cls(
            input_channel=part.integer("input_channel"),
            channels=part.integer("channels"),
            rates=part.integers("rates", high=KERNEL_LIMIT),
            kernel_sizes=part.integers("kernel_sizes", high=KERNEL_LIMIT),
            kernel_size=_odd(part, "kernel_size", WAVE_KERNEL),
            dilations=part.integers("dilations", WAVE_DILATIONS, high=KERNEL_LIMIT),
        )
        config._validate(part)
        return config

    def _validate(self, part: Section) -> None:
        if len(self.rates) != len(self.kernel_sizes):
            raise part.error("kernel_sizes", f"must have as many values as `rates`, {len(self.rates)}")
        for rate, kernel in zip(self.rates, self.kernel_sizes, strict=True):
            if kernel < rate or (kernel - rate) % 2:
                raise part.error(
                    "kernel_sizes",
                    f"has {kernel} for rate {rate}, but must exceed it by an even number",
                )
        if self.channels % (1 << len(self.rates)):
            raise part.error("channels", f"must be divisible by {1 << len(self.rates)}, as every block halves it")

    @property
    def hop(self) -> int:
        """Samples per input frame."""
        return math.prod(self.rates)

    def reach(self) -> int:
        """Input frames on each side of a frame that influence the frame's samples."""
        half = self.kernel_size // 2
        first, last = -half, self.hop - 1 + half  # samples of frame 0, seen through the last convolution
        units = sum(self.dilations) * half
        for rate, kernel in zip(reversed(self.rates), reversed(self.kernel_sizes), strict=True):
            first, last = first - units, last + units
            padding = (kernel - rate) // 2
            first = -((kernel - 1 - padding - first) // rate)
            last = (last + padding) // rate
        return max(half - first, last + half)


@dataclass(frozen=True)
class VocosConfig:
    """Decoder of type `vocos`: a ConvNeXt stack at the token rate, then an inverse STFT of that hop.

    hop and n_fft in samples; n_fft is a multiple of hop.
    """

    input_channel: int
    vocos_dim: int
    vocos_intermediate_dim: int
    vocos_num_layers: int
    kernel_size: int = CONVNEXT_KERNEL
    hop: int = FRAME_HOP
    n_fft: int = 4 * FRAME_HOP

    @classmethod
    def read(cls, part: Section) -> VocosConfig:
        config = cls(**_frame_network(part), n_fft=part.integer("n_fft", 4 * FRAME_HOP, high=1 << 16))
        if config.n_fft % (2 * config.hop):
            raise part.error("n_fft", f"must be an even multiple of `hop`, {config.hop}, not {config.n_fft}")
        return config

    @property
    def backbone(self) -> BackboneConfig:
        return _frame_backbone(self, self.input_channel)

    def reach(self) -> int:
        """Input frames on each side of a frame that influence the frame's samples."""
        return _frame_reach(self) + -(-(self.n_fft - self.hop) // (2 * self.hop))


@dataclass(frozen=True)
class RefinerConfig:
    """A ConvNeXt stack that corrects the spectrum of what a source-filter decoder made.

    hop and n_fft of that spectrum in samples; the token's hop is a multiple of `hop`, and n_fft of twice `hop`.
    """

    vocos_dim: int
    vocos_intermediate_dim: int
    vocos_num_layers: int
    kernel_size: int = CONVNEXT_KERNEL
    hop: int = FRAME_HOP // 2
    n_fft: int = 2 * FRAME_HOP

    @classmethod
    def read(cls, part: Section, token_hop: int) -> RefinerConfig:
        config = cls(
            vocos_dim=part.integer("vocos_dim"),
            vocos_intermediate_dim=part.integer("vocos_intermediate_dim"),
            vocos_num_layers=part.integer("vocos_num_layers", high=MAX_LAYERS),
            kernel_size=_odd(part, "kernel_size", CONVNEXT_KERNEL),
            hop=part.integer("hop", FRAME_HOP // 2, high=1 << 14),
            n_fft=part.integer("n_fft", 2 * FRAME_HOP, high=1 << 16),
        )
        if token_hop % config.hop or config.hop % 2:
            raise part.error("hop", f"must be even and divide the decoder's, {token_hop}, not {config.hop}")
        if config.n_fft % (2 * config.hop):
            raise part.error("n_fft", f"must be an even multiple of `hop`, {config.hop}, not {config.n_fft}")
        return config

    @property
    def backbone(self) -> BackboneConfig:
        return _frame_backbone(self, self.n_fft // 2 + 1)

    def reach(self) -> int:
        """Unrefined samples on each side of a sample that influence it: two windows, and what the stack looks at."""
        return self.n_fft - self.hop // 2 + (1 + self.vocos_num_layers) * (self.kernel_size // 2) * self.hop


@dataclass(frozen=True)
class SourceFilterConfig:
    """Decoder of type `source_filter`: a ConvNeXt stack gives pitch, voicing and two envelopes; they filter a source.

    hop and n_fft in samples, sample_rate and f0_min..f0_max in Hz; bands: points of an envelope on the mel scale.
    refiner: a second network that corrects the result, or None.
    """

    input_channel: int
    vocos_dim: int
    vocos_intermediate_dim: int
    vocos_num_layers: int
    kernel_size: int = CONVNEXT_KERNEL
    hop: int = FRAME_HOP
    n_fft: int = 1024
    sample_rate: int = 16000
    f0_min: float = 50.0
    f0_max: float = 600.0
    bands: int = 80
    refiner: RefinerConfig | None = None

    @classmethod
    def read(cls, part: Section) -> SourceFilterConfig:
        network = _frame_network(part)
        config = cls(
            **network,
            n_fft=part.integer("n_fft", 1024, low=4, high=1 << 16),
            sample_rate=part.integer("sample_rate", 16000, low=1000, high=384000),
            f0_min=part.number("f0_min", 50.0, low=10, high=2000),
            f0_max=part.number("f0_max", 600.0, low=10, high=4000),
            bands=part.integer("bands", 80, low=4, high=4096),
            refiner=RefinerConfig.read(part.section("refiner"), network["hop"]) if part.has("refiner") else None,
        )
        if config.hop % 2:
            raise part.error("hop", f"must be even, not {config.hop}")
        if config.n_fft % 2 or not 2 * config.hop <= config.n_fft <= 4 * config.hop:
            raise part.error("n_fft", f"must be even and 2 to 4 times `hop`, {config.hop}, not {config.n_fft}")
        if config.f0_min >= config.f0_max:
            raise part.error("f0_min", f"must be below `f0_max`, {config.f0_max:g} Hz")
        return config

    @property
    def backbone(self) -> BackboneConfig:
        return _frame_backbone(self, self.input_channel)

    def reach(self) -> int:
        """Input frames on each side of a frame that influence the frame's samples, the phase of the source aside.

        A sample hears the source of up to n_fft samples before it, whose pitch depends on the frame before.
        """
        refined = self.refiner.reach() if self.refiner else 0
        return _frame_reach(self) + -(-(self.n_fft - self.hop // 2 + refined) // self.hop)


Decoder = DecoderConfig | VocosConfig | SourceFilterConfig
DECODER_TYPES: dict[str, type[DecoderConfig] | type[VocosConfig] | type[SourceFilterConfig]] = {
    "wave_generator": DecoderConfig,
    "vocos": VocosConfig,
    "source_filter": SourceFilterConfig,
}


def read_decoder(part: Section) -> Decoder:
    """The section `decoder`, by its `type`. Raises CheckpointError naming file and key."""
    kind = part.text("type", "wave_generator")
    if kind not in DECODER_TYPES:
        raise part.error("type", f"is {kind!r:.40}, but there are {', '.join(DECODER_TYPES)}")
    return DECODER_TYPES[kind].read(part)


@dataclass(frozen=True)
class BiCodecConfig:
    """The codec's own config.yaml, section `audio_tokenizer`."""

    mel: MelConfig
    encoder: BackboneConfig
    quantizer: QuantizerConfig
    speaker_encoder: SpeakerEncoderConfig
    prenet: BackboneConfig
    postnet: BackboneConfig
    decoder: Decoder

    @classmethod
    def read(cls, path: Path) -> BiCodecConfig:
        """Reads BiCodec/config.yaml. Raises CheckpointError naming file and key."""
        return cls.parse(read_yaml(path).section("audio_tokenizer"))

    @classmethod
    def parse(cls, part: Section) -> BiCodecConfig:
        """Reads the section `audio_tokenizer`. Raises CheckpointError naming file and key."""
        config = cls(
            mel=MelConfig.read(part.section("mel_params")),
            encoder=BackboneConfig.read(part.section("encoder")),
            quantizer=QuantizerConfig.read(part.section("quantizer")),
            speaker_encoder=SpeakerEncoderConfig.read(part.section("speaker_encoder")),
            prenet=BackboneConfig.read(part.section("prenet")),
            postnet=BackboneConfig.read(part.section("postnet")),
            decoder=read_decoder(part.section("decoder")),
        )
        config._validate(part)
        return config

    def _validate(self, part: Section) -> None:
        voice = self.speaker_encoder.out_dim
        for key, value, other, expected in (
            (
                "quantizer.input_dim",
                self.quantizer.input_dim,
                "encoder.out_channels",
                self.encoder.out_channels,
            ),
            (
                "prenet.input_channels",
                self.prenet.input_channels,
                "quantizer.input_dim",
                self.quantizer.input_dim,
            ),
            ("prenet.condition_dim", self.prenet.condition_dim, "speaker_encoder.out_dim", voice),
            ("prenet.out_channels", self.prenet.out_channels, "speaker_encoder.out_dim", voice),
            (
                "decoder.input_channel",
                self.decoder.input_channel,
                "prenet.out_channels",
                self.prenet.out_channels,
            ),
            (
                "postnet.input_channels",
                self.postnet.input_channels,
                "prenet.out_channels",
                self.prenet.out_channels,
            ),
            (
                "speaker_encoder.input_dim",
                self.speaker_encoder.input_dim,
                "mel_params.num_mels",
                self.mel.num_mels,
            ),
        ):
            if value != expected:
                raise part.error(key, f"is {value} but must equal `{other}`, {expected}")

    @property
    def hop(self) -> int:
        """Samples per semantic token."""
        return self.decoder.hop

    @property
    def receptive_field(self) -> int:
        """Semantic tokens on each side of a token that influence its samples (67 for the official model).

        Quantiser and condition act on each frame alone; only the prenet and the waveform decoder look around.
        """
        return self.prenet.reach + self.decoder.reach()


@dataclass(frozen=True)
class LanguageModelConfig:
    """LLM/config.json: a Qwen2 decoder."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    max_position_embeddings: int
    tie_word_embeddings: bool
    eos_token_id: int | None

    @property
    def layer_values(self) -> int:
        """Numbers in the matrices of all layers, which a step reads."""
        heads = 2 * self.num_attention_heads + 2 * self.num_key_value_heads
        return self.num_hidden_layers * self.hidden_size * (heads * self.head_dim + 3 * self.intermediate_size)

    @classmethod
    def read(cls, path: Path) -> LanguageModelConfig:
        """Reads config.json. Raises CheckpointError naming file and key."""
        top = read_json(path)
        _only_plain_qwen2(top)
        hidden = top.integer("hidden_size")
        heads = top.integer("num_attention_heads", high=4096)
        config = cls(
            vocab_size=top.integer("vocab_size"),
            hidden_size=hidden,
            intermediate_size=top.integer("intermediate_size"),
            num_hidden_layers=top.integer("num_hidden_layers", high=MAX_LAYERS),
            num_attention_heads=heads,
            num_key_value_heads=top.integer("num_key_value_heads", heads, high=4096),
            head_dim=top.integer("head_dim") if top.has("head_dim") else hidden // heads,
            rms_norm_eps=top.number("rms_norm_eps", 1e-6, high=1),
            rope_theta=_rope_theta(top),
            max_position_embeddings=top.integer("max_position_embeddings", 32768),
            tie_word_embeddings=top.flag("tie_word_embeddings", False),
            eos_token_id=_eos(top),
        )
        if not top.has("head_dim") and hidden % heads:
            raise top.error("hidden_size", f"must be a multiple of `num_attention_heads`, {heads}")
        if heads % config.num_key_value_heads:
            raise top.error("num_key_value_heads", f"must divide `num_attention_heads`, {heads}")
        if config.head_dim % 2:
            raise top.error("head_dim", f"is {config.head_dim} but rotary embeddings need an even number")
        return config


@dataclass(frozen=True)
class Wav2Vec2Config:
    """wav2vec2 config.json, as far as it decides names and shapes of tensors."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    conv_dim: tuple[int, ...]
    conv_kernel: tuple[int, ...]
    conv_stride: tuple[int, ...]
    conv_bias: bool
    layer_norm_everywhere: bool  # else only the first convolution is normalised
    num_conv_pos_embeddings: int
    num_conv_pos_embedding_groups: int

    @classmethod
    def read(cls, path: Path) -> Wav2Vec2Config:
        """Reads config.json. Raises CheckpointError naming file and key."""
        top = read_json(path)
        if (kind := top.text("model_type", "wav2vec2")) != "wav2vec2":
            raise top.error("model_type", f"must be wav2vec2, not {kind!r:.40}")
        config = cls(
            hidden_size=top.integer("hidden_size"),
            intermediate_size=top.integer("intermediate_size"),
            num_hidden_layers=top.integer("num_hidden_layers", high=MAX_LAYERS),
            num_attention_heads=top.integer("num_attention_heads", high=4096),
            conv_dim=top.integers("conv_dim"),
            conv_kernel=top.integers("conv_kernel", high=KERNEL_LIMIT),
            conv_stride=top.integers("conv_stride", high=KERNEL_LIMIT),
            conv_bias=top.flag("conv_bias", False),
            layer_norm_everywhere=top.text("feat_extract_norm", "group") == "layer",
            num_conv_pos_embeddings=top.integer("num_conv_pos_embeddings", 128),
            num_conv_pos_embedding_groups=top.integer("num_conv_pos_embedding_groups", 16),
        )
        if not len(config.conv_dim) == len(config.conv_kernel) == len(config.conv_stride):
            raise top.error("conv_kernel", "must have as many values as `conv_dim` and `conv_stride`")
        for key in ("num_conv_pos_embedding_groups", "num_attention_heads"):
            if config.hidden_size % top.integer(key, 16):
                raise top.error(key, f"must divide `hidden_size`, {config.hidden_size}")
        return config

    @property
    def stride(self) -> int:
        """Samples from frame to frame."""
        return frame_geometry(self.conv_kernel, self.conv_stride)[0]

    @property
    def width(self) -> int:
        """Samples that one frame hears."""
        return frame_geometry(self.conv_kernel, self.conv_stride)[1]


def frame_geometry(kernels: Sequence[int], strides: Sequence[int]) -> tuple[int, int]:
    """Samples from frame to frame, and samples that one frame hears, of convolutions one behind the other."""
    stride, width = 1, 1
    for kernel, step in zip(kernels, strides, strict=True):
        width += (kernel - 1) * stride
        stride *= step
    return stride, width


@dataclass(frozen=True)
class Wav2Vec2Variant:
    """What config.json says beyond names and shapes of tensors. norm_first: before attention and feed-forward parts."""

    norm_first: bool
    norm_eps: float

    @classmethod
    def read(cls, path: Path) -> Wav2Vec2Variant:
        """Raises CheckpointError for a variant that only the torch engine knows."""
        top = read_json(path)
        for key in ("feat_extract_activation", "hidden_act"):
            if (name := top.text(key, "gelu")) != "gelu":
                raise top.error(key, f"is {name!r:.40}, but only gelu is known outside the torch engine")
        return cls(top.flag("do_stable_layer_norm", False), top.number("layer_norm_eps", 1e-5, high=1))


def check_features(options: CodecOptions, codec: BiCodecConfig, features: Wav2Vec2Config, file: Path) -> None:
    """Raises CheckpointError when the feature model cannot feed the codec. file: the model's config.json."""
    if features.num_hidden_layers < max(options.features.layers):
        raise CheckpointError(
            f"{file} describes {features.num_hidden_layers} layers, but semantic tokens need layer"
            f" {max(options.features.layers)} (`features.layers` in the top config.yaml)."
        )
    if features.hidden_size != codec.encoder.input_channels:
        raise CheckpointError(
            f"{file}: `hidden_size` is {features.hidden_size}, but the codec's encoder reads"
            f" {codec.encoder.input_channels} values (`encoder.input_channels`)."
        )
    if features.stride != codec.hop:
        raise CheckpointError(
            f"{file}: `conv_stride` makes one frame from {features.stride} samples, but a token of this codec has"
            f" {codec.hop}."
        )


def _choice(top: Section, key: str, usual: str, other: str) -> bool:
    """Whether an option has the other one of its two values. Raises CheckpointError for anything else."""
    value = top.text(key, usual)
    if value not in (usual, other):
        raise top.error(key, f"must be {usual} or {other}, not {value!r:.40}")
    return value == other


def part_directory(part: Section, key: str) -> str:
    """The name of a directory beside config.yaml. Raises CheckpointError for a path that leads elsewhere."""
    name = part.text(key)
    if re.fullmatch(r"\w[\w.-]{0,99}", name) is None:
        raise part.error(key, f"must be the plain name of a directory inside the checkpoint, not {name!r:.60}")
    return name


def check_agreement(options: CodecOptions, codec: BiCodecConfig, file: Path) -> None:
    """Raises CheckpointError when the two yaml files contradict each other. file: the codec's."""
    if codec.hop != options.latent_hop_length:
        raise CheckpointError(
            f"{file}: the decoder's rates make {codec.hop} samples per token, but the top config.yaml says"
            f" {options.latent_hop_length} (`latent_hop_length`)."
        )
    if codec.mel.sample_rate != options.sample_rate:
        raise CheckpointError(
            f"{file}: `audio_tokenizer.mel_params.sample_rate` is {codec.mel.sample_rate}, but the top"
            f" config.yaml says {options.sample_rate}."
        )


def _frame_network(part: Section) -> dict[str, int]:
    """The fields that decoders at the token rate share."""
    return {
        "input_channel": part.integer("input_channel"),
        "vocos_dim": part.integer("vocos_dim"),
        "vocos_intermediate_dim": part.integer("vocos_intermediate_dim"),
        "vocos_num_layers": part.integer("vocos_num_layers", high=MAX_LAYERS),
        "kernel_size": _odd(part, "kernel_size", CONVNEXT_KERNEL),
        "hop": part.integer("hop", FRAME_HOP, high=1 << 14),
    }


def _frame_backbone(config: VocosConfig | SourceFilterConfig | RefinerConfig, inputs: int) -> BackboneConfig:
    return BackboneConfig(
        input_channels=inputs,
        vocos_dim=config.vocos_dim,
        vocos_intermediate_dim=config.vocos_intermediate_dim,
        vocos_num_layers=config.vocos_num_layers,
        out_channels=config.vocos_dim,
        sample_ratios=(),
        kernel_size=config.kernel_size,
    )


def _frame_reach(config: VocosConfig | SourceFilterConfig) -> int:
    """Frames on each side that the stack of such a decoder looks at."""
    return (1 + config.vocos_num_layers) * (config.kernel_size // 2)


def _odd(part: Section, key: str, default: int) -> int:
    value = part.integer(key, default, high=KERNEL_LIMIT)
    if value % 2 == 0:
        raise part.error(key, f"must be odd, so that the convolution is centred, not {value}")
    return value


def _only_plain_qwen2(top: Section) -> None:
    if (kind := top.text("model_type", "qwen2")) != "qwen2":
        raise top.error("model_type", f"is {kind!r:.40}, but only qwen2 language models are supported")
    if (activation := top.text("hidden_act", "silu")) != "silu":
        raise top.error("hidden_act", f"is {activation!r:.40}, but only silu is supported")
    if top.has("use_sliding_window") and top.flag("use_sliding_window"):
        raise top.error("use_sliding_window", "is on, but only full attention is supported")
    for key in ("rope_scaling", "rope_parameters"):
        if not top.has(key):
            continue
        rope = top.section(key)
        name = "rope_type" if rope.has("rope_type") else "type"
        if (kind := rope.text(name, "default")) != "default":
            raise rope.error(name, f"is {kind!r:.40}, but only unscaled rotary embeddings are supported")
    if top.has("quantization_config"):
        raise top.error("quantization_config", "is set, but quantised checkpoints are not supported")


def _rope_theta(top: Section) -> float:
    # Newer exports keep it in `rope_parameters`.
    if not top.has("rope_theta") and top.has("rope_parameters"):
        return top.section("rope_parameters").number("rope_theta", low=1, high=1e12)
    return top.number("rope_theta", 10000.0, low=1, high=1e12)


def _eos(top: Section) -> int | None:
    if not top.has("eos_token_id"):
        return None
    if isinstance(top.values["eos_token_id"], list):
        return top.integers("eos_token_id", low=0)[0]
    return top.integer("eos_token_id", low=0)

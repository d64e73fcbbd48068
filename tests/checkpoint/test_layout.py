"""Opening, checking and describing checkpoint directories."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sparktts.checkpoint.layout import Checkpoint, check
from sparktts.errors import CheckpointError

from .copies import copy_checkpoint, edit_json, edit_tensors

CODEC = "BiCodec/model.safetensors"
LM = "LLM/model.safetensors"


@pytest.fixture
def copy(mini: Path, tmp_path: Path) -> Path:
    return copy_checkpoint(mini, tmp_path)


def refused(path: Path | str) -> str:
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.open(path)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_a_sound_checkpoint_opens_and_describes_itself(mini: Path) -> None:
    checkpoint = Checkpoint.open(mini)
    facts = checkpoint.describe()
    assert checkpoint.name == "mini"
    assert facts["sample_rate"] == 16000
    assert facts["tokens_per_second"] == 50
    assert facts["vocabulary"] == 13760
    assert facts["parameters"]["language model"] == sum(v.size for _, v in checkpoint.lm_tensors())
    assert facts["licence"] is None
    json.dumps(facts)
    report = check(mini)
    assert report.ok
    assert [part.name for part in report.parts] == ["codec", "language model", "wav2vec2"]
    assert report.parts[1].bytes == 4 * report.parts[1].values


def test_codec_tensors_are_folded_and_chosen_by_part(mini: Path) -> None:
    checkpoint = Checkpoint.open(mini)
    stored = load_file(mini / CODEC)
    prenet = checkpoint.bicodec_tensors("prenet")
    assert set(prenet) == {name for name in stored if name.startswith("prenet.")}
    decoder = checkpoint.bicodec_tensors("decoder")
    magnitude, direction = (stored[f"decoder.model.1.block.1.weight_{c}"] for c in "gv")
    norm = np.sqrt((direction.astype(np.float64) ** 2).sum((1, 2), keepdims=True))
    np.testing.assert_allclose(decoder["decoder.model.1.block.1.weight"], direction * (magnitude / norm), rtol=1e-5)
    both = checkpoint.bicodec_tensors("speaker_encoder.quantizer", "quantizer")
    assert {name.split(".")[0] for name in both} == {"quantizer", "speaker_encoder"}
    assert "quantizer.cluster_size" not in both
    assert all(values.dtype == np.float32 for values in both.values())
    with pytest.raises(CheckpointError, match="prene"):
        checkpoint.bicodec_tensors("prene")


def test_language_model_tensors_come_unchanged(mini: Path) -> None:
    stored = load_file(mini / LM)
    read = dict(Checkpoint.open(mini).lm_tensors())
    assert set(read) == set(stored)
    for name, values in stored.items():
        np.testing.assert_array_equal(read[name], values)


def test_wav2vec2_tensors_equal_transformers(mini: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tensors = Checkpoint.open(mini).wav2vec2_tensors()
    assert not any(name.startswith(("quantizer", "project_", "wav2vec2.")) for name in tensors)
    model = transformers.Wav2Vec2Model.from_pretrained(mini / "wav2vec2-large-xlsr-53")
    position = model.encoder.pos_conv_embed.conv.weight.detach().numpy()
    np.testing.assert_allclose(tensors["encoder.pos_conv_embed.conv.weight"], position, rtol=1e-5, atol=1e-7)
    layer = model.encoder.layers[3].attention.q_proj.weight.detach().numpy()
    np.testing.assert_array_equal(tensors["encoder.layers.3.attention.q_proj.weight"], layer)


def test_the_fingerprint_follows_the_tensors_that_give_tokens_meaning(copy: Path) -> None:
    stored = load_file(copy / CODEC)
    names = (
        "quantizer.codebook.weight",
        "speaker_encoder.quantizer.project_in.weight",
        "speaker_encoder.quantizer.project_in.bias",
    )
    expected = hashlib.sha256(b"".join(stored[name].tobytes() for name in names)).hexdigest()[:16]
    assert Checkpoint.open(copy).codec_fingerprint == expected
    edit_tensors(copy / CODEC, lambda t: t["decoder.model.6.bias"].__iadd__(1))
    assert Checkpoint.open(copy).codec_fingerprint == expected
    edit_tensors(copy / CODEC, lambda t: t["quantizer.codebook.weight"].__iadd__(1))
    assert Checkpoint.open(copy).codec_fingerprint != expected


def test_newer_weight_norm_names_give_the_same_tensors(mini: Path, copy: Path) -> None:
    def rename(tensors: dict[str, np.ndarray]) -> None:
        for name in list(tensors):
            if name.endswith(("weight_g", "weight_v")):
                new = name[:-1].replace("weight_", "parametrizations.weight.original") + "01"[name[-1] == "v"]
                tensors[new] = tensors.pop(name)

    edit_tensors(copy / CODEC, rename)
    assert any("original1" in name for name in load_file(copy / CODEC))
    old, new = (Checkpoint.open(path).bicodec_tensors("decoder") for path in (mini, copy))
    assert set(old) == set(new)
    for name, values in old.items():
        np.testing.assert_array_equal(new[name], values)


def test_the_published_extras_are_dropped(copy: Path) -> None:
    def add(tensors: dict[str, np.ndarray]) -> None:
        tensors["mel_transformer.spectrogram.window"] = np.ones(640, np.float32)
        tensors["mel_transformer.mel_scale.fb"] = np.ones((513, 128), np.float32)

    edit_tensors(copy / CODEC, add)
    assert not any(name.startswith("mel_") for name in Checkpoint.open(copy).bicodec_tensors())


def test_a_tied_head_that_is_stored_as_well_is_ignored(copy: Path) -> None:
    edit_tensors(copy / LM, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].copy()}))
    assert "lm_head.weight" not in dict(Checkpoint.open(copy).lm_tensors())


def test_an_untied_head_is_read_and_demanded(copy: Path) -> None:
    edit_json(copy / "LLM/config.json", tie_word_embeddings=False)
    assert "lm_head.weight" in refused(copy)
    head = np.random.default_rng(0).standard_normal((13760, 64)).astype(np.float32)
    edit_tensors(copy / LM, lambda t: t.update({"lm_head.weight": head}))
    np.testing.assert_array_equal(dict(Checkpoint.open(copy).lm_tensors())["lm_head.weight"], head)


def test_shards_are_read(mini: Path, copy: Path) -> None:
    tensors = load_file(copy / LM)
    (copy / LM).unlink()
    names = sorted(tensors)
    weight_map = {}
    for i, part in enumerate((names[:20], names[20:])):
        save_file({name: tensors[name] for name in part}, copy / f"LLM/part{i}.safetensors")
        weight_map.update(dict.fromkeys(part, f"part{i}.safetensors"))
    (copy / "LLM/model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    whole = dict(Checkpoint.open(mini).lm_tensors())
    for name, values in Checkpoint.open(copy).lm_tensors():
        np.testing.assert_array_equal(values, whole[name])
    (copy / "LLM/part1.safetensors").unlink()
    assert "part1.safetensors is missing" in refused(copy)


def test_paths_that_are_no_checkpoint_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "sparktts model download SparkAudio/Spark-TTS-0.5B" in refused("SparkAudio/Spark-TTS-0.5B")
    assert "does not exist" in refused(tmp_path / "nothing")
    assert "does not exist" in refused("\0")
    assert "does not exist" in refused("x" * 5000)
    (tmp_path / "file").write_text("x")
    assert "is a file" in refused(tmp_path / "file")
    assert "config.yaml is missing" in refused(tmp_path)


@pytest.mark.parametrize(
    ("relative", "says"),
    [
        ("config.yaml", "config.yaml is missing"),
        ("BiCodec", "BiCodec/config.yaml is missing"),
        (CODEC, "BiCodec/model.safetensors is missing"),
        ("LLM", "LLM/config.json is missing"),
        (LM, "LLM/model.safetensors is missing"),
        ("LLM/tokenizer.json", "tokenizer.json is missing"),
    ],
)
def test_a_missing_part_is_named_with_the_way_to_get_it(relative: str, says: str, copy: Path) -> None:
    path = copy / relative
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    message = refused(copy)
    assert says in message.replace(os.sep, "/")
    assert "sparktts model download" in message


@pytest.mark.parametrize("relative", ["BiCodec/config.yaml", "LLM/config.json"])
def test_a_truncated_configuration_is_named(relative: str, copy: Path) -> None:
    data = (copy / relative).read_bytes()
    (copy / relative).write_bytes(data[: len(data) * 2 // 3])
    assert Path(relative).name in refused(copy)


def test_contradicting_configurations_are_refused(copy: Path) -> None:
    text = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(text.replace("latent_hop_length: 320", "latent_hop_length: 160"))
    assert "latent_hop_length" in refused(copy)
    (copy / "config.yaml").write_text(text.replace("sample_rate: 16000", "sample_rate: 24000"))
    assert "sample_rate" in refused(copy)


@pytest.mark.parametrize("file", [CODEC, LM])
def test_a_missing_tensor_is_named(file: str, copy: Path) -> None:
    name = sorted(n for n in load_file(copy / file) if n.endswith("bias"))[3]
    edit_tensors(copy / file, lambda t: t.pop(name))
    assert f"`{name}`" in refused(copy)


def test_half_a_weight_norm_pair_is_named(copy: Path) -> None:
    edit_tensors(copy / CODEC, lambda t: t.pop("decoder.model.0.weight_g"))
    assert "`decoder.model.0.weight_g`" in refused(copy)


def test_a_misshapen_tensor_is_named_with_both_shapes(copy: Path) -> None:
    edit_tensors(copy / LM, lambda t: t.update({"model.norm.weight": np.ones(63, np.float32)}))
    message = refused(copy)
    assert "`model.norm.weight`" in message
    assert "[63]" in message
    assert "[64]" in message


def test_an_unexpected_tensor_is_named(copy: Path) -> None:
    edit_tensors(copy / CODEC, lambda t: t.update({"prenet.extra": np.ones(1, np.float32)}))
    assert "`prenet.extra`" in refused(copy)


def test_integer_weights_are_refused(copy: Path) -> None:
    edit_tensors(copy / LM, lambda t: t.update({"model.norm.weight": np.ones(64, np.int32)}))
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight.*int32"):
        dict(Checkpoint.open(copy).lm_tensors())


def test_check_reports_every_problem(copy: Path) -> None:
    def damage(tensors: dict[str, np.ndarray]) -> None:
        tensors["model.norm.weight"][5] = np.nan
        tensors["model.embed_tokens.weight"][0, :2] = np.inf
        del tensors["model.layers.0.mlp.up_proj.weight"]
        tensors["other"] = np.ones(1, np.float32)

    edit_tensors(copy / LM, damage)
    (copy / CODEC).write_bytes((copy / CODEC).read_bytes()[:-1])
    report = check(copy)
    assert not report.ok
    text = "\n".join(report.problems)
    assert len(report.problems) == 5
    assert "`model.norm.weight` has 1 values" in text
    assert "`model.embed_tokens.weight` has 2 values" in text
    assert "up_proj" in text
    assert "`other`" in text
    assert "BiCodec" in text
    assert [part.name for part in report.parts] == ["language model", "wav2vec2"]
    assert len(check(copy / "nothing").problems) == 1


def test_nan_is_no_reason_not_to_open(copy: Path) -> None:
    edit_tensors(copy / LM, lambda t: t["model.norm.weight"].__setitem__(0, np.nan))
    Checkpoint.open(copy)


def test_wav2vec2_is_missed_only_when_asked_for(copy: Path) -> None:
    shutil.rmtree(copy / "wav2vec2-large-xlsr-53")
    checkpoint = Checkpoint.open(copy)
    assert check(copy).ok
    assert checkpoint.describe()["transcripts"] is False
    with pytest.raises(CheckpointError, match="transcript"):
        checkpoint.wav2vec2_tensors()


def test_the_licence_is_what_the_model_card_declares(copy: Path) -> None:
    (copy / "README.md").write_text("---\nlicense: cc-by-nc-sa-4.0\n---\n# A model\n")
    assert "CC BY-NC-SA 4.0" in str(Checkpoint.open(copy).licence)
    (copy / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    assert Checkpoint.open(copy).licence == "apache-2.0"
    (copy / "README.md").unlink()
    official = copy.rename(copy.with_name("Spark-TTS-0.5B"))
    assert "CC BY-NC-SA 4.0" in str(Checkpoint.open(official).licence)


def test_a_snapshot_in_the_hub_s_cache_is_named_after_its_repository(mini: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--SparkAudio--Spark-TTS-0.5B" / "snapshots" / "0123abc"
    shutil.copytree(mini, snapshot)
    assert Checkpoint.open(snapshot).name == "Spark-TTS-0.5B"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
def test_reading_keeps_one_tensor_in_memory_at_a_time(tmp_path: Path, mini: Path) -> None:
    """64 tensors of 2 MB pass through within 30 MB more than before."""
    big = {f"t{i}": np.ones((1 << 19,), np.float32) for i in range(64)}
    save_file(big, tmp_path / "big.safetensors")
    code = f"""
import re
from pathlib import Path
from sparktts.checkpoint.tensors import TensorFile
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
before = peak()
file = TensorFile.open({str(tmp_path / "big.safetensors")!r})
for name in file.names:
    assert file.read(name)[0] == 1
assert peak() - before < 30, (before, peak())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)

"""Sound in and out: reading, writing, loudness, spectrograms. numpy in, numpy out; mono float32."""

"""From recordings and transcripts to Parquet shards that training reads; needs the extra `train`."""

"""The Beam job: shard plans, the workers that write records, the output folder and its manifest."""

"""The Beam job: shard plans, the workers that write records, and the output folder with its manifest.

Door: `pipeline.preprocess`.
"""

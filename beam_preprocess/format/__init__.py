"""What an annotation, an image, a target and a record are: their types, readers and writers. NumPy and OpenCV; no Beam.

Doors: `config.PreprocessConfig`, `manifest.Manifest`, `annotations.load_annotations`, `sources.list_images`,
`targets.assign_targets`, `records.encode` and `records.decode`.
"""

"""The exported model: how it is built from a finished training, checked, run, scored and converted.

Doors: `building.export`, `accuracy.evaluate`, `conversion.convert`, `pictures.predict`, and `inference`, which runs a
model.
"""

"""What images and their detections look like, as numbers: per image, and a model's profile of its validation images.

Doors: `measure.measure`, `rows.Rows` and `profile.read_profile`.
"""

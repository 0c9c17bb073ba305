"""The data set as given, and what is wrong with it: validation, limits. No Beam.

Doors: `check.check_data` and `check.examine`; `validate.validate_images` and `validate.validate_boxes`.
"""

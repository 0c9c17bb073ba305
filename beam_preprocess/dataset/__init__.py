"""The data set as given, and what is wrong with it: image folders, validation, limits. No Beam.

Doors: `check.check_data` and `check.examine`; `sources.list_images`; `validate.validate_images` and
`validate.validate_boxes`.
"""

"""Where a training starts: published weights by name, those of an earlier training, or a checkpoint from elsewhere.

Doors: `catalogue` (the names), `starts.load` (any start into a model), `conversion.convert` (a start into a folder),
`origin` (where weights came from), `finished` (a trained model's folder).
"""

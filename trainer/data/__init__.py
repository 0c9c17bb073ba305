"""From records to batches on the device.

Doors: `input_pipeline` (manifest, checks, batches), `heatmap.Labels` (a batch of targets), `augmentation.augment`,
`augmentation_preview.preview` (a contact sheet of both).
"""

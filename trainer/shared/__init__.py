"""What every room of the trainer may use. No TensorFlow.

Doors: `google_cloud.call` and `google_cloud.make_client` (Google's clients), `draw.draw_detections` (boxes on an
image), and the constants of `fixes` (what error messages advise).
"""

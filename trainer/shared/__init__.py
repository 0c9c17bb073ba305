"""What every room of the trainer may use: Google's clients and drawing. No TensorFlow."""

"""May the candidate replace the champion? Evaluations in, a decision out, and what follows from it. No TensorFlow."""

"""Exported models: a SavedModel any TensorFlow loads, TFLite, and their card."""

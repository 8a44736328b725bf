"""Trained models in use: prediction, ONNX export, model cards, upload."""

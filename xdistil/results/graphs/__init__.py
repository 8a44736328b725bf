"""Our models as ONNX graphs, one file a family, over padded batches instead of packed rows."""

"""Models in Python, with torch or with ONNX Runtime: images of any kind in, masks out. No Kedro."""

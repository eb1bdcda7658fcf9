"""Other people's models: networks of nncore from theirs, and ONNX files from networks.

`from_sklearn`, `from_torch` and `from_keras` take an object and import nothing: what its package is,
the object tells. `from_onnx` and `Network.to_onnx` need no package either. Each importer turns a
model into a list of links (`links`), and those become layers in one place.
"""

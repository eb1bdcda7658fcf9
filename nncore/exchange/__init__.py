"""Other people's models: networks of nncore from theirs, and ONNX files from networks.

`from_sklearn`, `from_torch` and `from_keras` take an object and import nothing: the object tells
what it is. `from_onnx` and `Network.to_onnx` need no package either. Each importer turns a model
into a list of links (`links`), and those become layers in one place.
"""

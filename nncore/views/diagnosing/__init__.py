"""What keeps a network from learning: `Network.diagnose` and `nncore.Monitor`."""

"""The loss over two directions, the path down it, and where it ended."""

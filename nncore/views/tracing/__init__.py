"""One gradient step taken apart: `Network.trace`."""

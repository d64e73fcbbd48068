"""The web page: clone, create, read, voices. Extra: `ui`."""

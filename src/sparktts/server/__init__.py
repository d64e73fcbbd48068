"""The HTTP server: OpenAI's speech interface, voices, a WebSocket, metrics. Extra: `server`."""

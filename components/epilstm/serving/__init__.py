"""The Open Inference Protocol: what server and client share, the server, the client."""

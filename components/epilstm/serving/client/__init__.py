"""Asks a server for embeddings of signal that lies here."""

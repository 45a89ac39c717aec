"""Adapters for everything outside the function: AWS, Encord, and temporary tables on disk."""

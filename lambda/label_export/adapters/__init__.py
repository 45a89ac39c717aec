"""Clients of services outside the function. Each sub-package knows one provider."""

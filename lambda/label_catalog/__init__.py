"""The catalog function: finds labels that webhooks missed, queues them for the exporter, reports completeness."""

__version__ = "0.2.0"

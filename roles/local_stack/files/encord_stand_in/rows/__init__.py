"""The label rows: made once with the SDK (``build``, ``ontology``, ``extras``), or on demand (``giant``)."""

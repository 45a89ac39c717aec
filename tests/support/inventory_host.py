"""A host of an inventory with what every role needs, for tests without a local stack."""

from __future__ import annotations

from typing import Any


def inventory_host(**settings: Any) -> dict[str, Any]:
    """Return the variables of an environment on this machine, with these settings."""
    return {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "label_export_environment": "dev",
        "label_export_account_id": "123456789012",
        "label_export_region": "eu-west-1",
        **settings,
    }

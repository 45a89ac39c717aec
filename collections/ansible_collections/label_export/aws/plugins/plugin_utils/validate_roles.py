"""Action of ``label_export.aws.validate_roles``: validates several roles' inputs against their argument specs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action.validate_argument_spec import ActionModule as OneSpec


class ActionModule(OneSpec):
    """Validates inputs of roles (documentation: ``plugins/modules/validate_roles.py``)."""

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the task's result: it fails with every error of every role."""
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "roles": {"type": "list", "elements": "str", "required": True},
                "roles_directory": {"type": "path", "required": True},
                "inputs_directory": {"type": "str", "required": True},
            }
        )
        errors: dict[str, list[str]] = {}
        for role in arguments["roles"]:
            path = Path(arguments["roles_directory"]) / role / "meta" / "argument_specs.yml"
            specs = self._loader.load_from_file(str(path))["argument_specs"]
            # The base class reads the spec from here.
            self._task.args = {"argument_spec": specs["main"]["options"]}
            if found := super().run(None, task_vars).get("argument_errors"):
                errors[role] = found
        messages = [
            f"{role}: {'; '.join(found)}. Set it in {arguments['inputs_directory']}/{role}.yml."
            for role, found in errors.items()
        ]
        if messages:
            message = f"Validation of arguments failed: {' '.join(messages)}"
            return {"failed": True, "argument_errors": errors, "msg": message}
        return {"changed": False, "msg": "The inputs of all roles are valid"}

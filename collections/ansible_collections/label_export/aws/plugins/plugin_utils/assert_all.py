"""Action of ``label_export.aws.assert_all``: evaluates assertions in turn, and renders only the message it shows."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Asserts conditions, each with its own message (documentation: ``plugins/modules/assert_all.py``)."""

    _requires_connection = False

    @classmethod
    def finalize_task_arg(cls, name: str, value: Any, templar: Any, context: Any) -> Any:
        """Return the assertions as they are written. Ansible would otherwise render all messages before each run."""
        return value if name == "assertions" else super().finalize_task_arg(name, value, templar, context)

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the task's result: that of the first assertion that is false, if there is one."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "assertions": {
                    "type": "list",
                    "required": True,
                    "elements": "dict",
                    "options": {
                        "name": {"type": "str", "required": True},
                        "that": {"type": "list", "elements": "raw", "required": True},
                        "fail_msg": {"type": "str", "required": True},
                        "when": {"type": "raw", "default": True},
                    },
                },
            }
        )
        is_true = self._templar.evaluate_conditional
        conditions = (
            (assertion, condition)
            for assertion in arguments["assertions"]
            if is_true(assertion["when"])
            for condition in assertion["that"]
        )
        for assertion, condition in conditions:
            if not is_true(condition):
                return {
                    **result,
                    "failed": True,
                    "name": assertion["name"],
                    "assertion": condition,
                    "msg": self._templar.template(assertion["fail_msg"]),
                }
        return {**result, "changed": False, "msg": "All assertions passed"}

"""Answers what only the live service can settle, as far as reading can. See Encord's facts in docs/architecture.md."""

from __future__ import annotations

from typing import Any

from label_catalog.core.model import ProjectInfo
from label_catalog.toolbox import Toolbox


def probe(tools: Toolbox, project: ProjectInfo, days: int) -> dict[str, Any]:
    """Return the answers for a project."""
    return {"answers": [], "project_hash": project.project_hash, "days": days, "domain": tools.settings.encord_domain}

"""The stand-in's state: projects, keys, webhooks, faults, counters and settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from encord_stand_in.counters import Counters
from encord_stand_in.faults import Faults
from encord_stand_in.keys import KeyRegistry
from encord_stand_in.projects import Projects
from encord_stand_in.settings import Settings
from encord_stand_in.webhooks import SigningSecrets, Webhooks


@dataclass(slots=True)
class State:
    """The state that Encord's API and the control API share."""

    keys: KeyRegistry
    secrets: SigningSecrets
    ca_file: Path | None
    projects: Projects = field(default_factory=Projects)
    webhooks: Webhooks = field(default_factory=Webhooks)
    faults: Faults = field(default_factory=Faults)
    counters: Counters = field(default_factory=Counters)
    settings: Settings = field(default_factory=Settings)

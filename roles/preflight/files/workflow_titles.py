"""Print the titles of the workflow stages of Encord projects, as a JSON object by project.

Standard input is a JSON object: ``domain``, ``key`` (an OpenSSH private key without a passphrase) and ``projects``.
"""

from __future__ import annotations

import json
import sys

from encord import EncordUserClient


def main() -> None:
    wanted = json.load(sys.stdin)
    client = EncordUserClient.create_with_ssh_private_key(wanted["key"], domain=wanted["domain"])
    titles = {
        project: [stage.title for stage in client.get_project(project).workflow.stages]
        for project in wanted["projects"]
    }
    print(json.dumps(titles))


if __name__ == "__main__":
    main()

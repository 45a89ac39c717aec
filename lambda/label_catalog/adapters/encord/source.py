"""Encord through its SDK, with bounded time-outs, and our own listing of label rows. Nothing here writes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import requests
from encord import EncordUserClient, Project
from encord.configs import SshConfig, UserConfig
from encord.exceptions import (
    AuthenticationError,
    AuthorisationError,
    EncordException,
    InvalidArgumentsError,
    MethodNotAllowedError,
    ResourceNotFoundError,
    SshKeyNotFound,
)
from encord.http.constants import RequestsSettings
from encord.http.querier import Querier
from encord.orm.analytics import TaskActionType
from encord.orm.project import ProjectType
from label_export.core.edit_times import in_utc
from label_export.core.errors import (
    ExportError,
    KeyRefusedError,
    PermanentError,
    RetryableError,
    TerminalError,
    encord_failure,
)

from label_catalog.adapters.encord.connections import Connections
from label_catalog.adapters.encord.listing import read_listing
from label_catalog.adapters.encord.private_key import ssh_config
from label_catalog.core.model import Action, ListedRow, OddRow, ProjectInfo, Stage, TooLargeError

CONNECT_SECONDS = 10
READ_SECONDS = 60
# A call takes at most about (1 + 2) x 60 s; with the SDK's defaults it would be 12 minutes.
SDK_SETTINGS = RequestsSettings(
    max_retries=2, backoff_factor=0.5, connection_retries=2, connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS
)
TRIES = 4
_PIECE = 256 * 1024
_MOST_RAW = 8 << 20
# Actions on a task after which its label may have changed or moved; not assign and release.
_KINDS = [
    TaskActionType.SUBMIT,
    TaskActionType.APPROVE,
    TaskActionType.MOVE,
    TaskActionType.REJECT,
    TaskActionType.SKIP,
]


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An HTTP response: its status, its Date header, at most a few megabytes of its body, and its duration."""

    status: int
    date: str | None
    body: bytes
    seconds: float


class EncordFeeds:
    """What the catalog reads from Encord. All methods raise RetryableError, PermanentError or TerminalError."""

    def __init__(  # noqa: PLR0913  (two limits of the listing)
        self,
        key: Callable[[], tuple[str, str | None]],
        domain: str,
        *,
        listing_seconds: float,
        listing_bytes: int,
        connections: Connections,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`key` returns the private key's text and passphrase; it is called once, and again after a refusal."""
        self._key = key
        self._domain = domain
        self._seconds = listing_seconds
        self._bytes = listing_bytes
        self._sleep = sleep
        self._config: SshConfig | None = None
        self._projects: dict[str, Project] = {}
        self._session = requests.Session()
        self._session.mount("https://", connections.adapter())
        connections.use_for_the_sdk()
        self.requests = 0
        """The number of requested listings."""

    def forget(self) -> None:
        """Read key and projects again at the next call."""
        self._config = None
        self._projects = {}

    def projects(self, wanted: Iterable[str]) -> list[ProjectInfo]:
        """Return the wanted projects, or all that the key can read if none is named."""
        names = sorted(wanted)
        try:
            found = self._found_projects(names)
        except KeyRefusedError:  # the secret may have been rotated since it was read
            self.forget()
            found = self._found_projects(names)
        for project in found:
            self._projects[project.project_hash] = project
        return [_info(project) for project in found]

    def _found_projects(self, names: Sequence[str]) -> list[Project]:
        with _translated("the projects"):
            client = self._client()
            return [client.get_project(name) for name in names] if names else list(client.list_projects())

    def actions(self, project: ProjectInfo, after: datetime, before: datetime) -> Iterator[Action]:
        """Yield the actions on tasks in [after, before), in no guaranteed order.

        Both bounds need a time zone, which the SDK's own default does not have.
        """
        with _translated("the task actions"):
            found = self._project(project).get_task_actions(
                after=after.astimezone(UTC), before=before.astimezone(UTC), action_type=_KINDS
            )
            for action in found:
                yield Action(
                    in_utc(action.timestamp),
                    str(action.action_type.value),
                    str(action.data_unit_uuid),
                    str(action.workflow_stage_uuid),
                )

    def tasks(self, project: ProjectInfo, stage: Stage) -> Iterator[str]:
        """Yield the data hashes of all tasks in a stage, in no guaranteed order, some perhaps twice."""
        with _translated("the tasks of a stage"):
            found = self._project(project).workflow.get_stage(uuid=stage.uuid)
            for task in found.get_tasks():
                data_hash = getattr(task, "data_hash", None)
                if data_hash is not None:
                    yield str(data_hash)

    def ontology(self, project_hash: str) -> dict[str, Any]:
        """Return a project's ontology: `{"version", "ontology_hash", "objects", "classifications"}`.

        Objects and classifications are as Encord's SDK writes them (encord.objects.OntologyStructure.to_dict).
        """
        self.projects([project_hash])
        found = self._projects[project_hash]
        with _translated("the ontology"):
            structure = found.ontology_structure.to_dict()
            return {"version": 1, "ontology_hash": found.ontology_hash, **structure}

    def rows(
        self, project_hash: str, filters: Mapping[str, Any], *, bounded: bool = False
    ) -> Iterator[ListedRow | OddRow]:
        """Yield label rows. With `bounded`, raise TooLargeError for a response that exceeds the limits.

        A failed request is retried only before its first row was yielded.
        """
        payload = {
            "include_uninitialised_labels": True,
            "include_all_label_branches": True,
            "include_workflow_graph_node": True,
            "include_client_metadata": False,
            "include_images_data": False,
            **filters,
        }
        query = {"query_type": "labelrowmetadata", "query_method": "GET", "values": {"uid": None, "payload": payload}}
        body = json.dumps(query)
        for attempt in range(1, TRIES + 1):
            given = False
            try:
                for row in read_listing(self._pieces(project_hash, body, bounded)):
                    given = True
                    yield row
                return
            except RetryableError as error:
                if given or attempt == TRIES:
                    raise
                self._sleep(min(error.retry_after or 0.5 * 2**attempt, 20.0))
            except KeyRefusedError:
                if given or attempt > 1:
                    raise
                self.forget()

    def raw(self, project_hash: str, query_type: str, uid: object, payload: Mapping[str, Any]) -> RawAnswer:
        """Send one reading request to the legacy endpoint and return any response, for the probe."""
        query = {"query_type": query_type, "query_method": "GET", "values": {"uid": uid, "payload": payload}}
        body = json.dumps(query)
        headers = self._ssh_config().define_headers(project_hash, "project", body)
        began = time.monotonic()
        try:
            with self._session.post(
                f"{self._domain}/public",
                data=body,
                headers=headers,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                stream=True,
            ) as response:
                pieces, size = [], 0
                for piece in response.iter_content(_PIECE):
                    pieces.append(piece)
                    size += len(piece)
                    if size > _MOST_RAW:
                        break
                seconds = time.monotonic() - began
                return RawAnswer(response.status_code, response.headers.get("Date"), b"".join(pieces), seconds)
        except requests.exceptions.RequestException as error:
            raise RetryableError("encord_unavailable", f"Encord did not answer: {type(error).__name__}") from None

    def task_times(self, project: ProjectInfo, stage: Stage, most: int) -> list[tuple[str, datetime]]:
        """Return data hash and update time of a stage's first tasks, in the order in which Encord serves them."""
        with _translated("the tasks of a stage"):
            found = self._project(project).workflow.get_stage(uuid=stage.uuid).get_tasks()
            tasks = ((getattr(task, "data_hash", None), task.updated_at) for task in islice(found, most))
            return [(str(data_hash), in_utc(updated)) for data_hash, updated in tasks if data_hash is not None]

    def _pieces(self, project_hash: str, body: str, bounded: bool) -> Iterator[bytes]:
        self.requests += 1
        headers = self._ssh_config().define_headers(project_hash, "project", body)
        began, size = time.monotonic(), 0
        timeout = (CONNECT_SECONDS, self._seconds if bounded else max(self._seconds, 300.0))
        try:
            with self._session.post(
                f"{self._domain}/public", data=body, headers=headers, timeout=timeout, stream=True
            ) as response:
                if response.status_code != requests.codes.ok:
                    after = response.headers.get("Retry-After", "")
                    code = _error_name(response)
                    raise encord_failure(response.status_code, code, float(after) if after.isdigit() else None)
                for piece in response.iter_content(_PIECE):
                    size += len(piece)
                    if bounded and (size > self._bytes or time.monotonic() - began > self._seconds):
                        raise TooLargeError
                    yield piece
        except requests.exceptions.ReadTimeout:
            if bounded:
                raise TooLargeError from None
            raise RetryableError("encord_unavailable", "Encord did not answer the listing in time") from None
        except requests.exceptions.RequestException as error:
            raise RetryableError("encord_unavailable", f"Encord's listing failed: {type(error).__name__}") from None

    def _project(self, project: ProjectInfo) -> Project:
        found = self._projects.get(project.project_hash)
        if found is None:
            found = self._projects[project.project_hash] = self._client().get_project(project.project_hash)
        return found

    def _client(self) -> EncordUserClient:
        config = UserConfig(self._ssh_config())
        return EncordUserClient(config, Querier(config))

    def _ssh_config(self) -> SshConfig:
        if self._config is None:
            text, passphrase = self._key()
            self._config = ssh_config(text, passphrase, self._domain, SDK_SETTINGS)
        return self._config


def _error_name(response: requests.Response) -> str | None:
    try:
        found = json.loads(response.content[:65536])
        name = found["response"][0]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return name if isinstance(name, str) else None


def _info(project: Project) -> ProjectInfo:
    stages: tuple[Stage, ...] = ()
    if project.project_type == ProjectType.WORKFLOW:
        found = project.workflow.stages
        stages = tuple(Stage(str(stage.uuid), stage.title, str(stage.stage_type.value)) for stage in found)
    return ProjectInfo(project.project_hash, project.title, in_utc(project.created_at), stages)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Convert the SDK's errors to the project's own. Their texts may contain secrets, so only types are named."""
    try:
        yield
    except ExportError:
        raise
    except (AuthenticationError, SshKeyNotFound) as error:
        refused: ExportError = KeyRefusedError(
            "key_refused", f"Encord refuses the private key for {what}: {_kind(error)}"
        )
        raise refused from None
    except (AuthorisationError, MethodNotAllowedError) as error:
        raise PermanentError("no_access", f"Encord does not let the key read {what}: {_kind(error)}") from None
    except ResourceNotFoundError:
        raise TerminalError("not_found", f"Encord does not have {what}, or does not show it to the key") from None
    except InvalidArgumentsError as error:
        raise PermanentError("encord_refused", f"Encord refuses the request for {what}: {_kind(error)}") from None
    except EncordException as error:
        raise RetryableError("encord_unavailable", f"Encord did not return {what}: {_kind(error)}") from None
    except (
        requests.exceptions.RequestException,
        ValueError,
        KeyError,
        AttributeError,
        AssertionError,
        TypeError,
    ) as error:
        # pydantic's validation errors are ValueErrors: the response does not have the form that this SDK reads.
        raise RetryableError("malformed_answer", f"the SDK cannot read {what}: {_kind(error)}") from None


def _kind(error: BaseException) -> str:
    return type(error).__name__

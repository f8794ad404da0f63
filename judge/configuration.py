"""The connections file, as the replay takes it."""

from __future__ import annotations

from dataclasses import dataclass

from judge.values import Object


@dataclass(frozen=True)
class MappingRules:
    """How a connection's messages name accounts. `id` and `name` are paths, for `identify_traits` only."""

    method: str = "group"  # group | identify_traits | email_domain
    id: str = "company.id"
    name: str = "company.name"
    fallback: str = "none"  # email_domain | none


@dataclass(frozen=True)
class ConnectionRules:
    """A named set of Segment sources; `project_ids` of None: every other source."""

    name: str
    project_ids: tuple[str, ...] | None = None
    account_mapping: MappingRules = MappingRules()


@dataclass(frozen=True)
class Config:
    """The connections file."""

    connections: tuple[ConnectionRules, ...] = (
        ConnectionRules("default", None, MappingRules("group", fallback="email_domain")),
    )
    personal_email_domains: str = "exclude"  # exclude | keep
    registrable_domain: bool = False
    link_anonymous_ids: bool = True
    integration_names: tuple[str, ...] = ()
    placeholder_ids: tuple[str, ...] = ()

    def document(self) -> Object:
        """The same configuration as the connections file's YAML document (JSON is YAML)."""
        return {
            "personal_email_domains": self.personal_email_domains,
            "registrable_domain": self.registrable_domain,
            "link_anonymous_ids": self.link_anonymous_ids,
            "integration_names": list(self.integration_names),
            "placeholder_ids": list(self.placeholder_ids),
            "connections": [_connection_document(connection) for connection in self.connections],
        }


def _connection_document(connection: ConnectionRules) -> Object:
    mapping = connection.account_mapping
    document: Object = {"method": mapping.method, "fallback": mapping.fallback}
    if mapping.method == "identify_traits":
        document.update(id=mapping.id, name=mapping.name)
    sources = {} if connection.project_ids is None else {"project_ids": list(connection.project_ids)}
    return {"name": connection.name, **sources, "account_mapping": document}


DEFAULT = Config()
"""Without a connections file."""

"""`cartridges keys`: who may use the service, and what they may do."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.cli.output import AsJson, print_json
from app.keys import KeyRecord, KeyRing, Scope
from app.settings import Settings

keys = typer.Typer(help="Make, list and revoke API keys of the data folder.", no_args_is_help=True)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Who is going to use it.")],
    scope: Annotated[
        str, typer.Option(help="read (ask and look), write (documents and training, too) or admin.")
    ] = "read",
    collection: Annotated[
        list[str] | None, typer.Option(help="A collection that it is for; all when none is named.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it once; its hash is kept. From the first key on every request needs one."""
    chosen: Scope = scope  # type: ignore[assignment]  # `create` refuses any other
    record, key = _ring().create(name, chosen, collection or ())
    if as_json:
        print_json(_shown(record) | {"key": key})
        return
    typer.echo(f"Key {record.id} for {record.name}; it is shown this once:")
    typer.echo(key)


@keys.command("list")
def list_(as_json: AsJson = False) -> None:
    """The keys, without the keys themselves."""
    records = _ring().records()
    if as_json:
        print_json([_shown(record) for record in records])
        return
    table = Table("id", "name", "scope", "collections", "created")
    for record in records:
        collections = ", ".join(record.collections) or "all"
        name = escape(record.name)
        table.add_row(record.id, name, record.scope, collections, record.created_at)
    Console().print(table)


@keys.command()
def revoke(
    key_id: Annotated[
        str, typer.Argument(help="The key's id, as 'cartridges keys list' shows it.")
    ],
    as_json: AsJson = False,
) -> None:
    """Refuse a key from the next request on."""
    record = _ring().revoke(key_id)
    if as_json:
        print_json({"revoked": record.id})
        return
    typer.echo(f"Key {record.id} of {record.name} is revoked.")


def _ring() -> KeyRing:
    return KeyRing(Settings().data)


def _shown(record: KeyRecord) -> dict[str, object]:
    return {
        "id": record.id,
        "name": record.name,
        "scope": record.scope,
        "collections": list(record.collections) or None,
        "created_at": record.created_at,
    }

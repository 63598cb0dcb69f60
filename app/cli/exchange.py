"""`cartridges export` and `cartridges import`: a collection as one file, a cartridge as a PEFT adapter."""

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.measuring import progress_bar
from app.cli.output import AsJson, CommandFailed, print_json
from app.settings import Settings

Collection = Annotated[str, typer.Argument(help="The collection.")]


def export(
    collection: Collection,
    target: Annotated[Path, typer.Argument(help="The archive; with --peft, the adapter's folder.")],
    peft: Annotated[
        list[str] | None,
        typer.Option(
            help="A document: write its cartridge as a PEFT CARTRIDGE adapter. Repeatable."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a collection's texts and cartridges to one file, or some cartridges as an adapter."""
    # First what needs no reader: that takes a while to load.
    if target.exists() and (peft is None or not target.is_dir() or any(target.iterdir())):
        raise CommandFailed(f"{target} is there already; name another one or remove it.")
    if not target.absolute().parent.is_dir():
        raise CommandFailed(f"There is no folder {target.absolute().parent}; make it first.")
    from app.archive import export_collection
    from app.foundation import open_foundation
    from app.parts import Parts
    from app.reconcile import serves
    from app.storage import redis_at_hand
    from inference.adapters import write_adapter

    with redis_at_hand(Settings()) as settings:
        base = open_foundation(settings, Parts())
        try:
            if peft:
                current = base.store.current(collection, peft)
                if missing := [id for id in peft if id not in current]:
                    raise CommandFailed(f"Document {missing[0]} of {collection} has no cartridge.")
                chosen = [base.store.load(current[id]) for id in peft]
                for id, cartridge in zip(peft, chosen, strict=True):
                    manifest, text = cartridge.manifest, base.library.get(collection, id)
                    if manifest.is_draft or not serves(manifest, text, base.reader):
                        raise CommandFailed(f"Document {id} is not trained yet; wait for its job.")
                write_adapter(base.reader, chosen, target, base_model=base.reader.name)
                result = {"documents": len(peft), "cartridges": len(chosen)}
            else:
                with progress_bar("export") as progress:
                    documents, cartridges = export_collection(
                        collection,
                        target,
                        base.library,
                        base.store,
                        base.noted,
                        lambda done: progress("documents", done),
                    )
                result = {"documents": documents, "cartridges": cartridges}
        finally:
            base.close()
    if as_json:
        print_json(result | {"target": str(target)})
    else:
        typer.echo(f"{target}: {result['documents']} documents, {result['cartridges']} cartridges.")


def import_(
    source: Annotated[Path, typer.Argument(help="An archive, or the folder of a PEFT adapter.")],
    collection: Annotated[
        str | None, typer.Option(help="Where it goes; an archive knows where it came from.")
    ] = None,
    document: Annotated[
        str | None, typer.Option(help="Of an adapter: the document that it answers for.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take in an archive, or an adapter as the cartridge of a document that is there already."""
    if not source.exists():
        raise CommandFailed(f"There is no archive or adapter {source}.")
    if source.is_dir() and document is None:
        raise CommandFailed("An adapter needs --document: the document that it answers for.")
    if source.is_file() and document is not None:
        raise CommandFailed("An archive names its documents itself; --document is for an adapter.")
    from redis.exceptions import LockError

    from app.archive import import_adapter, import_collection
    from app.foundation import open_foundation, training_settings
    from app.parts import Parts
    from app.storage import open_retriever, redis_at_hand

    with redis_at_hand(Settings()) as settings:
        parts = Parts()
        base = open_foundation(settings, parts)
        try:
            if source.is_dir() and document is not None:
                offset = training_settings(settings).question_offset
                name = collection or "default"
                manifest = import_adapter(
                    source, base.library.get(name, document), base.store, base.reader, offset
                )
                result: dict[str, Any] = {
                    "collection": name,
                    "cartridge_id": manifest.cartridge_id,
                }
                said = f"{document} of {name} is answered by {manifest.cartridge_id}, unchecked."
            else:
                with progress_bar("import") as progress:
                    imported = import_collection(
                        source,
                        collection,
                        base.library,
                        base.store,
                        base.noted,
                        open_retriever(settings, parts.encoder(), base.library),
                        base.reader,
                        lambda done: progress("documents", done),
                    )
                try:  # what came without a cartridge is trained
                    queued = base.reconciler.run().requeued
                except LockError:
                    queued = 0
                result = {
                    "collection": imported.collection,
                    "documents": imported.documents,
                    "cartridges": imported.cartridges,
                    "left": imported.left,
                    "queued": queued,
                }
                said = (
                    f"{imported.collection}: {imported.documents} documents, "
                    f"{imported.cartridges} cartridges."
                )
                said += "".join(f"\n  {id}: {why}" for id, why in imported.left.items())
                said += f"\n{queued} trainings are queued for a worker." if queued else ""
        finally:
            base.close()
    if as_json:
        print_json(result)
    else:
        typer.echo(said)

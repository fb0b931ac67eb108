"""The sink of `s2mongo` edges: a batch is a bulk of upserts, and a document that is there stays as it is.

Mode `upsert`: a message's `_mid` is its document's `_id`, so a batch that is sent again finds what it has stored. It
inserts what is missing and changes nothing else: a document that a program has worked on since is not set back, and
nothing that a runner sends late does harm.

A batch is no transaction: documents appear one by one. What the server refuses for ever is found by the answer; the
rest of the batch lands, and the batch is frozen anew with the verdict on the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, OperationFailure
from pymongo.write_concern import WriteConcern

from dataflow.errors import BatchConflict, OutcomeUnknown, TargetRefused
from dataflow.flow.spec import Edge, Field, Schema
from dataflow.message import MID
from dataflow.mongo import Collection, MongoClient, answered, collection, database_of
from sync.claim import Claim
from sync.sink import Batch, Marker, Mode, Prepared, Refusal, Row, Verdict
from sync.sinks.mongo import refusals
from sync.sinks.mongo.documents import Documents

WRITE_CONCERN = WriteConcern(w="majority", j=True, wtimeout=30_000)
"""Where the connection's URL asks for nothing else."""


@dataclass(frozen=True, slots=True)
class _Document:
    """One row as it will be stored."""

    row: int
    mid: str
    body: bytes

    @property
    def upsert(self) -> UpdateOne:
        """Store it unless it is there. An empty $setOnInsert is refused by old servers."""
        fields = RawBSONDocument(self.body) if len(self.body) > _EMPTY else {"_id": self.mid}
        return UpdateOne({"_id": self.mid}, {"$setOnInsert": fields}, upsert=True)


_EMPTY = 5
"""Bytes of a document without fields."""


class MongoSink:
    """Writes the batches of one edge into one collection. See `sync.sink.Sink`.

    Args:
        edge: kind s2mongo.
        schema: of the edge's source stream.
        client: of the target; not closed here.
        claim: asked, before a batch is sent, whether this runner still has the edge.
    """

    def __init__(self, edge: Edge, schema: Schema | None, client: MongoClient, claim: Claim) -> None:
        if edge.table is None:
            raise ValueError(f"edge {edge.name!r} is no s2mongo edge: it names no collection")
        self._edge = edge
        self._client = client
        self._claim = claim
        self._to = [database_of(client, edge), edge.table]
        self._types = {name: [field.type, field.nullable] for name, field in (schema or {}).items()}
        self._documents = Documents(schema)
        self._poison: dict[str, Refusal] = {}

    @property
    def mode(self) -> Mode:
        """`upsert`."""
        return "upsert"

    def open(self) -> None:
        """See whether the server answers. The collection is made with its first document."""
        with self._answered():
            self._client.admin.command("ping")

    def close(self) -> None:
        """Nothing to let go of: the client is shared."""

    def handshake(self, lineage: str, epoch: int) -> Marker | None:
        """A collection keeps no marker; it is the lease that is looked at. Raises Fenced, ServerAway."""
        self._claim.check(lineage, epoch)
        return None

    def prepare(self, rows: Sequence[Row], verdict: Verdict | None) -> Prepared:
        """Make documents of rows, or repeat that from a verdict, whatever the flow says by now."""
        if verdict is None:
            made, refused = _made(self._documents, enumerate(rows), self._poison)
            return Prepared(Verdict(refused, extra={"to": self._to, "types": self._types}), made)
        left_out = verdict.skip | verdict.refused.keys()
        rest = ((index, row) for index, row in enumerate(rows) if index not in left_out)
        made, refused = _made(self._documents_by(verdict.extra["types"]), rest, {})
        if refused:
            raise TargetRefused(
                f"edge {self._edge.name!r}: the open batch was judged by another version of dataflow, which took "
                "messages that this one refuses: settle it with that version"
            )
        return Prepared(verdict, made)

    def write(self, batch: Batch, prepared: Prepared) -> int:
        """Store a batch and return how many documents of it are in the collection; see Sink.

        Raises:
            ServerAway, Fenced: nothing was written.
            TargetRefused: the server lets nobody write this collection, or not us.
            BatchConflict: some documents can never be stored, all others are; carries the entries of these.
            OutcomeUnknown: send the same batch again.
        """
        documents: list[_Document] = prepared.payload
        self._claim.check(batch.lineage, batch.epoch, batch.nonce)
        poison = self._store(self._collection(prepared.verdict.extra["to"]), documents) if documents else {}
        self._poison = poison
        if poison:
            self._poison = poison | _refused_before(batch, prepared.verdict)
            there = [batch.ids[one.row] for one in documents if one.mid not in poison]
            skipped = [batch.ids[row] for row in sorted(prepared.verdict.skip)]
            raise BatchConflict(
                f"edge {self._edge.name!r}: {len(poison)} documents can never be stored ({_example(poison)})",
                skipped + there,
                batch.seq,
            )
        return len(documents)

    def _store(self, target: Collection, documents: Sequence[_Document]) -> dict[str, Refusal]:
        """Upsert all. Returns those that the server will never take; the others are stored."""
        with self._answered():
            try:
                target.bulk_write([one.upsert for one in documents], ordered=False)
            except BulkWriteError as error:
                return self._account_for(error, documents)
            except OperationFailure as error:
                self._reason(error)
                return self._store_singly(target, documents)
        return {}

    def _store_singly(self, target: Collection, documents: Sequence[_Document]) -> dict[str, Refusal]:
        """For a server that gives a bulk up at the first bad document, and does not say which it is."""
        poison: dict[str, Refusal] = {}
        for one in documents:
            try:
                target.bulk_write([one.upsert], ordered=False)
            except BulkWriteError as error:
                poison |= self._account_for(error, [one])
            except OperationFailure as error:
                reason = self._reason(error)
                if reason:
                    poison[one.mid] = _refusal(reason)
        return poison

    def _reason(self, error: OperationFailure) -> str:
        """What the server has against a document, "" if it has it already.

        Raises the error where no document will ever be taken, OutcomeUnknown where one may be another time.
        """
        if refusals.is_denied(error):
            raise error
        reason = refusals.document_refusal(error.details or {"code": error.code, "errmsg": str(error)})
        if reason is None:
            raise OutcomeUnknown(f"edge {self._edge.name!r}: the MongoDB says: {error}") from error
        return reason

    def _account_for(self, error: BulkWriteError, documents: Sequence[_Document]) -> dict[str, Refusal]:
        """Which documents of a bulk can never be stored. Raises OutcomeUnknown if any may yet be."""
        poison: dict[str, Refusal] = {}
        for index, one in refusals.of_bulk(error).items():
            reason = refusals.document_refusal(one)
            if reason is None:
                raise OutcomeUnknown(f"edge {self._edge.name!r}: the MongoDB says: {one.get('errmsg')}") from error
            if reason:
                poison[documents[index].mid] = _refusal(reason)
        unmet = refusals.concern(error)
        if unmet:
            raise OutcomeUnknown(f"edge {self._edge.name!r}: stored, but not as safely as asked: {unmet}") from error
        return poison

    def _collection(self, to: Sequence[str]) -> Collection:
        """Where a batch goes was frozen with it; the flow may have changed since."""
        target = collection(self._client, *to)
        if self._client.write_concern.document:  # the URL asks for one
            return target
        return target.with_options(write_concern=WRITE_CONCERN)

    def _documents_by(self, types: Mapping[str, Any]) -> Documents:
        if types == self._types:
            return self._documents
        return Documents({name: Field(kind, nullable) for name, (kind, nullable) in types.items()})

    def _answered(self) -> Any:
        return answered(f"edge {self._edge.name!r}")


def _made(
    documents: Documents, rows: Iterable[tuple[int, Row]], poison: Mapping[str, Refusal]
) -> tuple[list[_Document], dict[int, Refusal]]:
    """Documents, and the rows that cannot be any: by their content, or because the server has just refused them."""
    made: list[_Document] = []
    refused: dict[int, Refusal] = {}
    for index, row in rows:
        found = documents.read(row)
        if isinstance(found, Refusal):
            refused[index] = found
        elif found[0] in poison:
            refused[index] = poison[found[0]]
        else:
            made.append(_Document(index, *found))
    return made, refused


def _refused_before(batch: Batch, verdict: Verdict) -> dict[str, Refusal]:
    """What the batch was frozen without, by `_id`: it stays refused when the batch is frozen anew."""
    return {_mid(batch.rows[row]): why for row, why in verdict.refused.items()}


def _mid(row: Row) -> str:
    return row[row.index(MID) + 1].decode(errors="replace")


def _refusal(reason: str) -> Refusal:
    return Refusal("", "", f"the MongoDB refuses the document: {reason}")


def _example(poison: Mapping[str, Refusal]) -> str:
    mid, why = next(iter(poison.items()))
    return f"{mid}: {why.reason}"

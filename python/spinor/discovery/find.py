"""What a model allows, found from its own code: norms that fold, the stream (R1), values (R2), MLPs (R4), reasons."""

from __future__ import annotations

import dataclasses

from .attention import Attention, attentions_of
from .folds import Fold, fold_all
from .hidden import Writer, routers_of, writers_of
from .reasons import Reason, reason_of
from .stream import StreamFinding, StreamSearch
from .subject import Subject
from .trace import Graph
from .values import ValuesFinding, ValuesSearch


@dataclasses.dataclass
class Findings:
    """All names are those in memory."""

    subject: Subject  # its norms are folded
    graph: Graph
    folds: list[Fold]
    unfolded: list[Fold]
    stream: StreamFinding
    reason: Reason | None  # why the stream cannot be turned
    attentions: list[Attention]
    values: ValuesFinding
    writers: list[Writer]
    routers: list[str]

    @property
    def sites(self):
        """Of the stream, proved as it is or with constant scales."""
        return self.stream.sites if self.stream.proved else self.reason.stream.sites if self.reason.stream else []


def find(model, inputs) -> Findings:
    """Of a tiny model in float64, untied, with random weights; its norms are folded afterwards."""
    subject = Subject(model, inputs)
    before = subject.state()
    graph = Graph(subject.trace())
    folds, unfolded = fold_all(subject, graph)
    search = StreamSearch(subject, graph)
    stream = search.find()
    reason = None if stream.proved else reason_of(subject, graph, folds, search)
    attentions, folded = attentions_of(graph), subject.state()
    subject.restore(before)  # a norm of the values stays where it is
    values = ValuesSearch(subject, attentions).find()
    subject.restore(folded)
    found = Findings(subject, graph, folds, unfolded, stream, reason, attentions, values, [], routers_of(graph))
    found.writers = writers_of(graph, attentions, found.sites, search.width)
    return found

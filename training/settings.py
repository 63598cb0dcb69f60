"""What a training run may choose, and how it reports and stops. Knows no tensors."""

from dataclasses import asdict, dataclass
from typing import Any


class TrainingRefused(ValueError):
    """The document or the settings cannot be trained; the message says what to do."""


class Cancelled(Exception):
    """The run was asked to stop; its checkpoint stays."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands: the stage's name and the share of the whole that is done, 0 to 1."""

    stage: str
    done: float


_OF_STUDY = frozenset(
    "seed window_min window_max conversations_per_token min_conversations max_conversations rounds "
    "asking_temperature bolder max_question max_answer not_stated top_k generation_batch held_out "
    "sure_at rivals unanswered".split()
)


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """One document's recipe. Defaults suit the bundled reader; lengths are in tokens."""

    seed: int = 0
    compression: float = 12.0  # document tokens for each slot
    min_slots: int = 16
    adaptive: bool = False  # whether a collection's slots go where they tell most
    probe_steps: int = 40  # with each number of slots that is tried
    least_told: float = 0.5  # of a document, by the most slots, for it to have its share of them
    draft_compression: float = 1.0  # of what answers until the training ends; 0 makes none
    initialiser: str = "spread"
    joint_initialiser: str = "compaction"  # of documents that learn beside each other
    question_offset: int = 1024  # where questions stand; above the slots of any cartridge
    window_min: int = 12  # the chunk that self-study talks about, one sentence at least
    window_max: int = 120
    conversations_per_token: float = 0.57
    min_conversations: int = 160
    max_conversations: int = 1_200
    rounds: int = 3  # of self-study: until enough conversations are kept, but no more than these
    asking_temperature: float = 0.6
    bolder: float = 0.1  # what each next round adds to the temperature
    max_question: int = 48
    max_answer: int = 64
    not_stated: str = "That is not stated."  # how the reader says so
    unanswered: float = 0.15  # share of questions that the text leaves open
    top_k: int = 20  # teacher log-probabilities kept for each answer token
    generation_batch: int = 64
    batch: int = 24
    steps_per_conversation: float = 1.4
    min_steps: int = 120
    max_steps: int = 800
    learning_rate: float = 0.1
    warm_up: int = 20
    final_rate: float = 0.02  # share of the learning rate at the last step
    held_out: int = 24  # conversations kept for the check
    sure_at: float = 0.5  # the teacher is sure of an answer whose every token it gives this much
    accept_at: float = 0.5  # share of held-out answers that must equal the teacher's
    int8_values: bool = False  # store values in eight bits where the check loses nothing by it
    checkpoint_every: int = 40
    # Of a collection's joint training:
    pool: int = 20  # cartridges on the device at a time
    joint_rate: float = 0.04  # learning rate; a batch has few rows of each document
    alone: float = 0.3  # share of examples that see no distractor
    distractors: int = 19  # at most, beside an example's own cartridge
    rivals: int = 8  # documents that retrieval brings for a question, kept with it
    hard: float = 0.5  # share of mixed examples whose distractors are what retrieval would bring
    absent: float = (
        0.0  # share of examples whose own cartridge is not seen: nobody else is to answer
    )
    beside: int = 4  # neighbours that a cartridge is checked among
    joint_share: float = 1.0  # of the steps that training each document for itself would take
    # Of a document that joins a collection:
    join_company: int = 24  # cartridges, at most, that it learns beside
    join_share: float = 1.0  # of the steps that training it for itself would take
    guard: float = 0.25  # share of its rows that ask about those already there
    replay_most: int = 4  # neighbours, at most, that learn along where they lost by it
    replay_share: float = 0.3  # of its steps, for that
    replay_rate: float = 0.01  # learning rate, of what is trained already
    update_share: float = 0.5  # of the steps, for a changed document that starts from what it was
    harm: float = 0.2  # of a neighbour's held-out answers, at most, that may be lost by it

    def __post_init__(self) -> None:
        if self.compression < 1 or self.min_slots < 1:
            raise TrainingRefused("compression and min_slots must be at least 1.")
        if self.draft_compression and self.draft_compression < 1:
            raise TrainingRefused("draft_compression must be at least 1, or 0 for no drafts.")
        if self.window_min < 1 or self.window_max < self.window_min:
            raise TrainingRefused("window_max must be at least window_min, and both at least 1.")
        if min(self.batch, self.generation_batch, self.top_k, self.rounds) < 1:
            raise TrainingRefused("batch, generation_batch, top_k, rounds: at least 1 each.")
        if min(self.min_steps, self.warm_up, self.checkpoint_every) < 1 or self.held_out < 0:
            raise TrainingRefused(
                "min_steps, warm_up, checkpoint_every: at least 1 each; held_out: at least 0."
            )
        if self.question_offset < 2:
            raise TrainingRefused("question_offset: at least 2, for the sink and a slot.")
        if self.accept_at > 0 and not self.held_out:
            raise TrainingRefused(
                "held_out: at least 1 while accept_at asks for a share of it; nothing would be published."
            )
        if self.pool < 2 or self.beside < 1 or self.joint_share <= 0:
            raise TrainingRefused("pool: at least 2; beside: at least 1; joint_share: above 0.")
        if self.join_company < 1 or min(self.join_share, self.replay_share, self.update_share) <= 0:
            raise TrainingRefused(
                "join_company: at least 1; join_share, replay_share and update_share: above 0."
            )
        if not 0 <= self.guard < 1 or self.replay_most < 0 or not 0 <= self.harm <= 1:
            raise TrainingRefused("guard is below 1; replay_most at least 0; harm from 0 to 1.")
        if self.probe_steps < 1 or not 0 <= self.least_told <= 1:
            raise TrainingRefused("probe_steps: at least 1; least_told is a share, from 0 to 1.")
        if not 0 <= self.accept_at <= 1:
            raise TrainingRefused("accept_at is a share: choose a number from 0 to 1.")
        if not 0 <= self.unanswered < 1 or not 0 <= self.absent < 1:
            raise TrainingRefused("unanswered and absent are shares below 1.")
        if not 0 < self.sure_at < 1:
            raise TrainingRefused("sure_at is a probability: choose a number between 0 and 1.")

    def require_positions(self, positions: int) -> None:
        """Raises TrainingRefused where so many positions leave no room for questions and answers."""
        needed = self.question_offset + self.max_question + self.max_answer
        if needed > positions:
            raise TrainingRefused(
                f"The reader has {positions} positions and training needs {needed}: lower question_offset "
                f"({self.question_offset}), max_question or max_answer."
            )

    def slots(self, document_tokens: int, share: float = 1.0) -> int:
        """Slots for a document: `share` of what the compression gives, below the question's offset."""
        wished = round(share * document_tokens / self.compression)
        return min(max(self.min_slots, wished), self.question_offset - 1, document_tokens)

    def conversations(self, document_tokens: int) -> int:
        """Conversations to be kept of self-study, the held-out ones included."""
        wished = round(document_tokens * self.conversations_per_token)
        return min(max(self.min_conversations, wished), self.max_conversations) + self.held_out

    def steps(self, conversations: int) -> int:
        """Optimiser steps for a number of conversations."""
        wished = round(conversations * self.steps_per_conversation)
        return min(max(self.min_steps, wished), self.max_steps)

    def of_study(self) -> dict[str, Any]:
        """What a study depends on: another run with the same may read it."""
        return {name: value for name, value in asdict(self).items() if name in _OF_STUDY}

    def to_dict(self) -> dict[str, Any]:
        """For a manifest's recipe."""
        return asdict(self)

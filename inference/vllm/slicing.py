"""Which key/value heads a tensor-parallel rank holds, as vLLM divides them. Knows numbers alone."""


def heads_of_rank(heads: int, ranks: int, rank: int) -> slice:
    """The heads of one rank: an equal share, or one head that several ranks hold.

    Raises ValueError when neither number divides the other, or for a rank that is not there.
    """
    if not 0 <= rank < ranks:
        raise ValueError(f"There is no rank {rank} among {ranks}.")
    if heads % ranks and ranks % heads:
        raise ValueError(
            f"{heads} key/value heads cannot be divided among {ranks} ranks; choose a tensor-parallel "
            "size that divides them, or a multiple of them."
        )
    share = max(1, heads // ranks)
    first = rank * share if heads >= ranks else rank // (ranks // heads)
    return slice(first, first + share)


def slot_numbers(blocks: list[int], block_size: int, start: int, stop: int) -> list[int]:
    """Where columns `start` to `stop` of a request lie in a paged cache, given its blocks."""
    return [blocks[at // block_size] * block_size + at % block_size for at in range(start, stop)]

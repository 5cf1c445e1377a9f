"""The transparency log as values: Merkle tree, tiles, signed notes, subject chains."""

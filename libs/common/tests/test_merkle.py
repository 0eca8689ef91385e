"""This module is where the tree is held against its definition; every path leads to its root."""

from hashlib import sha256

import pytest
from hypothesis import given, strategies as st

from wallet_common.chain import NO_HASH
from wallet_common.merkle import Head, Tree, climb, leaf

LEAVES = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40)


def defined(leaves: list[bytes]) -> bytes:
    """Return the root as RFC 6962 defines it, recursively."""
    if len(leaves) == 1:
        return leaves[0]
    left = 1
    while left * 2 < len(leaves):
        left *= 2
    return sha256(b"\x11" + defined(leaves[:left]) + defined(leaves[left:])).digest()


@given(LEAVES)
def test_the_root_is_that_of_the_definition(leaves: list[bytes]) -> None:
    """Taking leaves one after another yields what taking them all at once does."""
    tree = Tree()
    for each in leaves:
        tree.add(each)

    assert (tree.root(), tree.count) == (defined(leaves), len(leaves))
    assert tree.path == [], "no leaf was to be proven"


@given(LEAVES, st.data())
def test_each_path_leads_to_the_root(leaves: list[bytes], data: st.DataObject) -> None:
    """The proven leaf and its neighbours make the root; another leaf does not."""
    chosen = data.draw(st.integers(0, len(leaves) - 1))
    tree = Tree()
    for n, each in enumerate(leaves):
        tree.add(each, is_proven=n == chosen)
    root = tree.root()

    assert climb(leaves[chosen], tree.path) == root
    assert climb(bytes(31) + b"\x07", tree.path) != root or leaves[chosen] == bytes(31) + b"\x07"


def test_no_leaves_have_no_hash() -> None:
    """An empty tree is told from every other."""
    assert Tree().root() == NO_HASH


@pytest.mark.parametrize(
    "other",
    [
        Head("bob", 3, 100, "aa" * 32),
        Head("ann", 4, 100, "aa" * 32),
        Head("ann", 3, 101, "aa" * 32),
        Head("ann", 3, 100, "ab" * 32),
    ],
)
def test_a_leaf_holds_all_of_a_head(other: Head) -> None:
    """A wallet, a version, a balance or a hash more or less is another leaf."""
    assert leaf(other) != leaf(Head("ann", 3, 100, "aa" * 32))


@pytest.mark.parametrize("balance", [0, 258, -258, -(2**63), 2**63 - 1])
def test_a_leaf_is_what_a_stranger_would_write_down(balance: int) -> None:
    """The id's length and bytes, version and balance in eight bytes each, the hash; first 0x10."""
    two_numbers = (259).to_bytes(8, "big") + balance.to_bytes(8, "big", signed=True)
    whole = b"\x10" + b"\x00\x00\x00\x02\xc3\xa4" + two_numbers + b"\xaa" * 32

    assert leaf(Head("\u00e4", 259, balance, "aa" * 32)) == sha256(whole).digest()


def test_the_length_of_an_id_is_not_cut_short() -> None:
    """An id may have more bytes than a number of one byte can count."""
    whole = b"\x10\x00\x00\x01\x02" + b"a" * 258 + bytes(16) + b"\xaa" * 32

    assert leaf(Head("a" * 258, 0, 0, "aa" * 32)) == sha256(whole).digest()

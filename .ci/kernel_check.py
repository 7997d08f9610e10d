#!/usr/bin/env python3
"""Asks Bitcoin Core's own consensus engine about a chain of regtest blocks.

usage: kernel_check.py DIR

DIR holds the chain from height 1 on, one block a file: 1.hex, 2.hex, ... (hexadecimal, as `adit demo --blocks-dir DIR`
writes them). Exit status 0 only when

- every block in turn became the tip (process_block alone does not say so: it also returns True for a block that it stored
  and then found to be invalid);
- a copy of the last block whose coinbase pays one satoshi too much, otherwise valid and mined anew, was refused for that
  reason and left the tip where it was;
- the last block itself, after that, became the tip at the same height.

Needs the package py-bitcoinkernel (0.1.0a5), which carries the engine as a shared library.
"""

import hashlib
import struct
import sys
import tempfile
from pathlib import Path

import pbk


def sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


class Reader:
    """A cursor over serialized data; fails on a short read."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise ValueError(f"block ends at byte {len(self.data)}, {count} more wanted at {self.at}")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self) -> int:
        """A CompactSize."""
        first = self.take(1)[0]
        return first if first < 0xFD else int.from_bytes(self.take({0xFD: 2, 0xFE: 4, 0xFF: 8}[first]), "little")

    def string(self) -> bytes:
        return self.take(self.number())


class Transaction:
    """Just enough of a transaction: where it lies, its id, and where the value of its first output lies."""

    def __init__(self, reader: Reader):
        self.start = reader.at
        version = reader.take(4)
        witness = reader.data[reader.at : reader.at + 2] == b"\x00\x01"
        if witness:
            reader.take(2)
        body = reader.at
        inputs = reader.number()
        for _ in range(inputs):
            reader.take(36), reader.string(), reader.take(4)
        for index in range(reader.number()):
            if index == 0:
                self.first_value = reader.at
            reader.take(8), reader.string()
        body_end = reader.at
        if witness:
            for _ in range(inputs):
                for _ in range(reader.number()):
                    reader.string()
        self.txid = sha256d(version + reader.data[body:body_end] + reader.take(4))


def transactions(block: bytes) -> list[Transaction]:
    reader = Reader(block)
    reader.take(80)
    found = [Transaction(reader) for _ in range(reader.number())]
    if reader.at != len(block):
        raise ValueError(f"{len(block) - reader.at} bytes behind the last transaction")
    return found


def merkle_root(ids: list[bytes]) -> bytes:
    while len(ids) > 1:
        if len(ids) % 2:
            ids = [*ids, ids[-1]]
        ids = [sha256d(ids[i] + ids[i + 1]) for i in range(0, len(ids), 2)]
    return ids[0]


def mine(block: bytes) -> bytes:
    """The same block with its merkle root made right and a nonce that meets its own target."""
    root = merkle_root([transaction.txid for transaction in transactions(block)])
    bits = int.from_bytes(block[72:76], "little")
    target = (bits & 0x7FFFFF) << (8 * ((bits >> 24) - 3))
    head = block[:36] + root + block[68:76]
    for nonce in range(1 << 32):
        header = head + struct.pack("<I", nonce)
        if int.from_bytes(sha256d(header), "little") <= target:
            return header + block[80:]
    raise ValueError("no nonce meets the target")


def pay_more(block: bytes, satoshis: int) -> bytes:
    """The block with a coinbase that pays `satoshis` more. The witness commitment stays right: it counts the coinbase as zero."""
    at = transactions(block)[0].first_value
    value = int.from_bytes(block[at : at + 8], "little") + satoshis
    return mine(block[:at] + value.to_bytes(8, "little") + block[at + 8 :])


class Engine:
    """A regtest chain in a directory of its own, and what the engine last said about a block."""

    def __init__(self, directory: str):
        self.verdict = None
        self.reasons: list[str] = []
        callbacks = pbk.ValidationInterfaceCallbacks(block_checked=self._checked)
        self._log = pbk.LoggingConnection(self._logged)
        self._manager = pbk.load_chainman(directory, pbk.ChainType.REGTEST, callbacks)

    def _checked(self, _user_data, _block, state) -> None:
        self.verdict = (state.validation_mode, state.block_validation_result)

    def _logged(self, message: str) -> None:
        self.reasons.append(message)

    def tip(self) -> tuple[int, str]:
        chain = self._manager.get_active_chain()
        return chain.height, str(chain.block_tree_entries[chain.height].block_hash)

    def offer(self, block: bytes) -> bool:
        """Whether the block became the tip."""
        self.verdict, self.reasons = None, []
        try:
            self._manager.process_block(pbk.Block(block))
        except pbk.ProcessBlockException:
            pass
        return self.tip()[1] == sha256d(block[:80])[::-1].hex()

    def why(self) -> str:
        said = [line.strip() for line in self.reasons if "ERROR" in line or "bad-" in line or "invalid" in line.lower()]
        return f"{self.verdict}; " + (" | ".join(said) or "nothing in the log")


def load(directory: Path) -> list[bytes]:
    heights = sorted(int(path.stem) for path in directory.glob("*.hex"))
    if not heights or heights != list(range(1, len(heights) + 1)):
        sys.exit(f"{directory} has to hold 1.hex, 2.hex, ... without a gap; heights there: {heights[:20]}")
    return [bytes.fromhex((directory / f"{height}.hex").read_text().strip()) for height in heights]


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    *chain, last = load(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory() as directory:
        engine = Engine(directory)
        for height, block in enumerate(chain, 1):
            if not engine.offer(block):
                sys.exit(f"block {height} was refused: {engine.why()}; tip {engine.tip()}")
        height = len(chain) + 1
        before = engine.tip()
        greedy = pay_more(last, 1)
        if engine.offer(greedy) or engine.tip() != before:
            sys.exit(f"a coinbase that pays one satoshi too much was accepted at height {height}: is the honest one below its due?")
        if not any("bad-cb-amount" in line for line in engine.reasons):
            sys.exit(f"the block that pays one satoshi too much was refused, but for another reason: {engine.why()}")
        if not engine.offer(last):
            sys.exit(f"block {height} was refused: {engine.why()}; tip {engine.tip()}")
        tip = engine.tip()
        spends = sum(len(transactions(block)) - 1 for block in [*chain, last])
        print(f"Bitcoin Core's engine accepts all {height} blocks ({spends} transactions besides the coinbases), tip {tip[1]};")
        print("one satoshi more in the last coinbase: refused as bad-cb-amount, the tip did not move.")


if __name__ == "__main__":
    main()

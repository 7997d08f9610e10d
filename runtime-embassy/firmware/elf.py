"""Reads the firmware's linked image: sections, symbols, and the relocations that the linker left in it (`--emit-relocs`), which say who refers to whom.

A 32-bit little-endian ELF file and no other; nothing of Rust is known here.
"""

import bisect
import collections
import re
import struct

Section = collections.namedtuple("Section", "name type flags address offset size link info")
Symbol = collections.namedtuple("Symbol", "name value size kind section")
Relocation = collections.namedtuple("Relocation", "at kind symbol")

WRITE, ALLOC, EXECUTE = 1, 2, 4
PROGBITS, SYMTAB, NOBITS, REL = 1, 2, 8, 9
OBJECT, FUNC, FILE = 1, 2, 4
# R_ARM_ABS32: a whole address. R_ARM_THM_MOVW_ABS_NC, R_ARM_THM_MOVT_ABS: its halves, in two instructions.
ABS32, MOVW, MOVT = 2, 47, 48


class Image:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = file.read()
        if self.bytes[:6] != b"\x7fELF\x01\x01":
            raise ValueError(f"{path} is no 32-bit little-endian ELF file")
        start, size, count, names = struct.unpack_from("<I10xHHH", self.bytes, 32)
        headers = [struct.unpack_from("<10I", self.bytes, start + i * size) for i in range(count)]
        text = lambda table, at: self._text(headers[table][4] + at)
        self.sections = [Section(text(names, h[0]), *h[1:8]) for h in headers]
        self.symbols = []
        for section in self.sections:
            if section.type == SYMTAB:
                for at in range(section.offset, section.offset + section.size, 16):
                    name, value, size, info, _, index = struct.unpack_from("<IIIBBH", self.bytes, at)
                    self.symbols.append(Symbol(text(section.link, name), value, size, info & 15, index))
        # Bit 0 of a function's address says that it is Thumb code.
        functions = {s.value & ~1: s for s in self.symbols if s.kind == FUNC and s.size}
        self._starts = sorted(functions)
        self._functions = functions
        data = {s.value: s for s in self.symbols if s.kind not in (FUNC, FILE) and s.size and s.section < 0xFF00}
        self._data_starts = sorted(data)
        self._data = data

    def _text(self, at):
        return self.bytes[at:self.bytes.index(b"\0", at)].decode()

    def section(self, name):
        return next(section for section in self.sections if section.name == name)

    def sizes(self):
        """`text`, `data` and `bss` as size(1) counts them."""
        sizes = {"text": 0, "data": 0, "bss": 0}
        for section in self.sections:
            if section.flags & ALLOC:
                kind = "bss" if section.type == NOBITS else "data" if section.flags & WRITE else "text"
                sizes[kind] += section.size
        return sizes

    def functions(self):
        """All functions, by address."""
        return [self._functions[at] for at in self._starts]

    def function_at(self, address):
        """The function whose code is at this address."""
        return self._holder(self._starts, self._functions, address)

    def data_at(self, address):
        """The variable or constant with a name of its own at this address."""
        return self._holder(self._data_starts, self._data, address)

    @staticmethod
    def _holder(starts, symbols, address):
        at = bisect.bisect_right(starts, address) - 1
        if at < 0:
            return None
        symbol = symbols[starts[at]]
        return symbol if address < starts[at] + symbol.size else None

    def in_image(self, address):
        """Whether the file holds what stands at this address."""
        return self._find(address) is not None

    def _find(self, address):
        for section in self.sections:
            if section.flags & ALLOC and section.type != NOBITS and section.address <= address < section.address + section.size:
                return section
        return None

    def read(self, address, length):
        """What stands at an address; None where the file holds nothing."""
        section = self._find(address)
        if section is None or address + length > section.address + section.size:
            return None
        at = section.offset + address - section.address
        return self.bytes[at:at + length]

    def word(self, address):
        bytes = self.read(address, 4)
        return None if bytes is None else int.from_bytes(bytes, "little")

    def compiler(self):
        """The compiler, as it says in the image, and where the core library came from."""
        found = re.search(rb"rustc version [\w.-]+ \([^)]*\)", self.bytes)
        ready = b"/rustc/" in self.bytes
        return (found.group().decode() if found else "unknown") + (", its ready-made core" if ready else ", core built with the rest")

    def references(self):
        """(where, address) of all addresses that code and constants hold."""
        halves = collections.defaultdict(list)
        for relocation in self.relocations():
            if relocation.kind == ABS32:
                yield relocation.at, self.word(relocation.at)
            elif relocation.kind in (MOVW, MOVT):
                first, second = struct.unpack("<HH", self.read(relocation.at, 4))
                value = (first & 15) << 12 | (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 255
                halves[second >> 8 & 15].append((relocation.at, relocation.kind, value))
        for places in halves.values():
            places.sort()
            upper = [(at, value) for at, kind, value in places if kind == MOVT]
            for at, kind, value in places:
                if kind == MOVW and upper:
                    # The other half follows, as a rule; now and then it was moved in front.
                    near = min(upper, key=lambda half: abs(half[0] - at) + (64 if half[0] < at else 0))
                    yield at, near[1] << 16 | value

    def relocations(self):
        """All places in the image that were filled in by the linker."""
        for section in self.sections:
            if section.type == REL and self.sections[section.info].flags & ALLOC:
                for at in range(section.offset, section.offset + section.size, 8):
                    address, info = struct.unpack_from("<II", self.bytes, at)
                    yield Relocation(address, info & 0xFF, self.symbols[info >> 8])

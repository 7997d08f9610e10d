#!/usr/bin/env python3
"""Says which bytes of the firmware's flash are whose, and what memory it takes.

    size.py IMAGE            a table, one line for each group
    size.py IMAGE --json     the same as one line of JSON
    size.py IMAGE --areas    what Adit's own part does with its bytes
    size.py IMAGE --files G  files of group G, largest first; --functions G: its functions; --data G: its constants

How a byte is counted:

- An instruction belongs to the innermost inlined function that is somebody's: Adit's, the board's, embassy's (network stack included), the
  cryptography's. What the core library or a small library (heapless, bs58) contributes inline is the caller's; as a function of its own
  it is the library's. So a generic function counts to the crate that wrote it, whoever made the instance.
- Where the compiler merged code of several places it says line 0, and any of their files. Such an instruction is that of the function it is in.
- A constant belongs to who refers to it: instructions as above, else another constant. With several, to who refers to it most often. It goes from
  where one reference points to where the next one does.
- The vector table is the board's.

Needs line tables in the image (profile.release.debug), its relocations (build.rs), and llvm-symbolizer (Debian: llvm-22).
"""

import bisect
import collections
import json
import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import elf  # noqa: E402

ADIT = {"adit", "adit-embassy"}
CRYPTOGRAPHY = {
    "blake2", "block-buffer", "chacha20", "chacha20poly1305", "aead", "cipher", "cmov", "cpubits", "cpufeatures", "crypto-common", "ctutils",
    "curve25519-dalek", "digest", "ed25519", "ed25519-dalek", "fiat-crypto", "hmac", "hybrid-array", "inout", "poly1305", "sha2", "signature",
    "subtle", "universal-hash", "x25519-dalek", "zeroize",
}
NETWORK = {"smoltcp", "managed", "cordyceps"}


def group(crate):
    if crate in ADIT:
        return "adit"
    if crate == "adit-firmware":
        return "board"
    if crate in CRYPTOGRAPHY:
        return "cryptography"
    if crate in NETWORK or crate.startswith("embassy-"):
        return "embassy"
    return "core" if crate in ("core", "compiler_builtins") else "other"


OWNED = {"adit", "board", "embassy", "cryptography"}
PLACES = [
    (re.compile(r"/registry/(?:src/[^/]+/)?(.+?)-\d+\.\d+[^/]*/"), None),
    (re.compile(r"/compiler[-_]builtins"), "compiler_builtins"),
    (re.compile(r"/library/(core|portable-simd)"), "core"),
    (re.compile(r"/runtime-embassy/firmware/"), "adit-firmware"),
    (re.compile(r"/runtime-embassy/src/"), "adit-embassy"),
    (re.compile(r"/core/src/"), "adit"),
]


def crate_of(path):
    for pattern, crate in PLACES:
        found = pattern.search(path)
        if found:
            return crate or found.group(1)
    return "unknown"


SYMBOLIZERS = ("llvm-symbolizer-22", "llvm-symbolizer", "llvm-symbolizer-21", "llvm-symbolizer-20", "llvm-symbolizer-19")


def symbolizer():
    for name in SYMBOLIZERS:
        if shutil.which(name):
            return name
    sys.exit("size.py: llvm-symbolizer is missing (Debian: apt-get install llvm-22)")


def owners_of_code(image, path):
    """Owner of every halfword of code: (group, crate, file, function)."""
    names = {symbol.value & ~1: symbol.name for symbol in image.functions()}
    functions = sorted({(symbol.value & ~1, symbol.size) for symbol in image.functions()})
    addresses = sorted({at for start, size in functions for at in range(start, start + size, 2)})
    done = subprocess.run(
        [symbolizer(), f"--obj={path}", "--inlines", "--output-style=GNU", "--addresses", "--demangle"],
        input="\n".join(map(hex, addresses)), capture_output=True, text=True, check=True,
    )
    frames, here = {}, None
    lines = iter(done.stdout.splitlines())
    for line in lines:
        if re.fullmatch(r"0x[0-9a-f]+", line):
            here = frames.setdefault(int(line, 16), [])
        else:
            place, number = next(lines).rsplit(":", 1)
            here.append((line, place, number.split()[0] == "0"))
    # Of each function the file that most of its lines are in.
    files, start, starts = collections.defaultdict(collections.Counter), None, {start for start, _ in functions}
    for at in addresses:
        start = at if at in starts else start
        if frames[at] and not frames[at][-1][2]:
            files[start][frames[at][-1][1]] += 1
    owners, last = {}, None
    for at in addresses:
        if at in starts:
            start, last = at, None
        if frames[at] and frames[at][-1][2] and files[start]:
            frames[at][-1] = (frames[at][-1][0], files[start].most_common(1)[0][0], True)
        known = [(function, place, crate_of(place)) for function, place, _ in frames[at] if crate_of(place) != "unknown"]
        found = next((it for it in known if group(it[2]) in OWNED), known[-1] if known else None)
        if found:
            last = (group(found[2]), found[2], found[1], found[0])
        elif last is None:
            name = names.get(at, "?")
            crate = "compiler_builtins" if name.startswith(("__", "mem")) else "unknown"
            last = (group(crate), crate, "", name)
        owners[at] = last
    return owners


def owners_of_constants(image, code):
    """(start, length, owner) of every piece of .rodata."""
    section = image.section(".rodata")
    begin, end = section.address, section.address + section.size
    references = collections.defaultdict(list)
    for address, target in image.references():
        if begin <= target < end:
            references[target].append(address)
    named = {symbol.value: symbol.name for symbol in image.symbols if symbol.kind == elf.OBJECT}
    for value in named:
        if begin <= value < end:
            references.setdefault(value, [])
    starts = sorted(references)
    if not starts or starts[0] != begin:
        starts.insert(0, begin)
    owner = {}
    # Rounds: constants that only constants refer to come after those.
    for _ in range(8):
        for start in starts:
            if start in owner:
                continue
            votes = collections.Counter()
            for address in references.get(start, []):
                if address in code:
                    votes[code[address]] += 1
                elif begin <= address < end:
                    parent = owner.get(starts[bisect.bisect(starts, address) - 1])
                    if parent:
                        votes[parent] += 1
            if votes:
                groups = collections.Counter()
                for who, count in votes.items():
                    groups[who[0]] += count
                best = groups.most_common(1)[0][0]
                owner[start] = max((it for it in votes.items() if it[0][0] == best), key=lambda it: it[1])[0]
    for start, stop in zip(starts, starts[1:] + [end]):
        if start in owner:
            yield start, stop - start, owner[start]
        else:
            yield start, stop - start, ("other", "unknown", "", named.get(start, "constant that nothing refers to"))


# What Adit's files are for, by the beginning of their path in either crate; the first that fits.
AREAS = {
    "handshake and records": ("noise/", "transport/", "crypto/", "connection/handshake"),
    "messages and their coding": ("message/", "wire/", "frame", "protocol"),
    "mining client": ("mining/", "hash.rs"),
    "connection, buffers, link": ("connection/", "buffer/", "session", "link", "storage", "error"),
    "device, servers, waits": ("role/", "device/", "upstream", "backoff", "time", "clock", "entropy"),
    "URL and key": ("address/",),
    "streams over embassy-net": ("net.rs",),
    "desk and software engine": ("hashing/",),
}


def area(path):
    inside = path.rsplit("/src/", 1)[-1]
    return next((name for name, beginnings in AREAS.items() if inside.startswith(beginnings)), "other")


GROUPS = ["adit", "board", "embassy", "cryptography", "core", "other"]


def main(arguments):
    if not arguments:
        sys.exit(__doc__)
    image = elf.Image(arguments[0])
    sizes = image.sizes()
    text = sizes["text"]
    code = owners_of_code(image, arguments[0])
    constants = list(owners_of_constants(image, code))
    flash = {name: dict(code=0, constants=0) for name in GROUPS}
    for owner in code.values():
        flash[owner[0]]["code"] += 2
    for _, length, owner in constants:
        flash[owner[0]]["constants"] += length
    vectors = image.section(".vector_table")
    flash["board"]["constants"] += vectors.size
    # Gaps between functions.
    flash["other"]["code"] += text - sum(it["code"] + it["constants"] for it in flash.values())
    record = dict(sizes)
    for name in GROUPS:
        record[name] = flash[name]["code"] + flash[name]["constants"]

    option = arguments[1] if len(arguments) > 1 else None
    if option == "--json":
        print(json.dumps(record))
    elif option == "--areas":
        areas = collections.Counter()
        for owner in code.values():
            if owner[0] == "adit":
                areas[area(owner[2])] += 2
        for _, length, owner in constants:
            if owner[0] == "adit":
                areas[area(owner[2])] += length
        for what, length in areas.most_common():
            print(f"{length:7} {what}")
    elif option in ("--files", "--functions", "--data"):
        wanted = collections.Counter()
        if option == "--data":
            for start, length, owner in constants:
                if owner[0] == arguments[2]:
                    raw = image.read(start, length)
                    shown = "".join(chr(b) if 32 <= b < 127 else "." for b in raw[:60])
                    wanted[f"{start:#x} {owner[1]} {owner[2].split('/src/')[-1]} {shown}"] += length
        else:
            for owner in code.values():
                if owner[0] == arguments[2]:
                    wanted[" ".join([owner[1], owner[2].split("/src/")[-1]] + ([owner[3]] if option == "--functions" else []))] += 2
        for what, length in wanted.most_common():
            print(f"{length:7} {what}")
    else:
        print(f"{'':14}{'code':>9}{'constants':>11}{'flash':>9}")
        for name in GROUPS:
            it = flash[name]
            print(f"{name:14}{it['code']:9}{it['constants']:11}{it['code'] + it['constants']:9}")
        print(f"{'together':14}{'':9}{'':11}{text:9}   data {sizes['data']}, bss {sizes['bss']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

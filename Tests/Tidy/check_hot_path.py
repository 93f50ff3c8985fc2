#!/usr/bin/env python3
"""Checks in the object files that the packet path counts no references, allocates nothing and takes no lock.

The compiler proves that for functions marked @_noLocks; this stands behind it, because the attribute is an
underscored one. From each function in ROOTS all that it calls or refers to within our own objects is followed;
a call into the Swift runtime's memory management or into malloc fails with the way that led there. A root that
is not found fails as well: a renamed function must not leave the check.

    Tests/Tidy/check_hot_path.py [--build-path .build/release] [--verbose]
"""

import argparse
import collections
import pathlib
import re
import shutil
import subprocess
import sys

# Modules whose objects are followed.
MODULES = ("Wire", "Datapath", "LinuxIO")

# Demangled names begin with these.
ROOTS = (
    "Datapath.decide(",
    "Datapath.admit(",
    "Datapath.applyOuterECN(",
    "Datapath.recoverOffload(",
    "Datapath.Superframe.completeChecksum(",
    "Datapath.SegmentPlan.init(",
    "Datapath.SegmentPlan.emitHeader(",
    "Datapath.TooBig.answer(",
    "Datapath.NeighborRequest.init(",
    "Datapath.NeighborRequest.answer(",
    "Datapath.BindingTable.station(",
    "Datapath.NeighborCell.load(",
    "Datapath.NeighborCell.noteUse(",
    "Datapath.NeighborCell.noteWanted(",
    "Datapath.Envelope.init(",
    "Datapath.OuterHeader.init(",
    "Datapath.OuterHeader.emit(",
    "Datapath.OuterHeader.isLike(",
    "Datapath.OuterDatagram.init(",
    "Datapath.OuterDatagram.takeOffload(",
    "Datapath.HoldQueue.hold(",
    "Datapath.HoldQueue.holds(",
    "Datapath.SegmentPlan.fits(",
    "Datapath.ProgramView.path(",
    "Datapath.ProgramView.sourcePort(",
    "Datapath.ProgramView.listener(",
    "Datapath.FrameShape.init(Datapath.Superframe)",
    "Datapath.ForwardingTable.lookup(",
    "Datapath.ForwardingTable.learn(",
    "Datapath.FlowCache.verdict(",
    "Datapath.FlowCache.settle(",
    "Datapath.FlowCache.settlePlanned(",
    "Datapath.Rules.find(",
    "Datapath.OriginalHeaders.keep(",
    "Datapath.OriginalHeaders.answerTooBig(",
    "Datapath.ErrorBudget.take(",
    "protocol witness for Datapath.EngineOutput.write(",
    "protocol witness for Datapath.EngineOutput.reserve(",
    "protocol witness for Datapath.EngineOutput.send(",
    "protocol witness for Datapath.EngineOutput.emit(",
    "protocol witness for Datapath.EngineOutput.emitWhole(",
    "protocol witness for Datapath.EngineOutput.noteWanted(",
)

# Keeps what a tried frame would become, off the packet path.
NO_ROOT = "in conformance Datapath.TraceOutput"

# Checked where the optimizer has left them whole: the engine's loops over the kernel's output.
OPTIONAL_ROOTS = (
    "generic specialization <LinuxIO.KernelOutput> of Datapath.Engine.",
    "LinuxIO.KernelOutput.(flush",
)

# What must not be reached. The runtime is swift_*; `$ss` and the like are the standard library's own functions,
# which are inlined where they are harmless.
FORBIDDEN = re.compile(
    r"^(swift_|_swift_|malloc$|calloc$|realloc$|free$|posix_memalign$|aligned_alloc$|_Zn[aw]|_Zd[al]|pthread_)"
)
STANDARD_LIBRARY = re.compile(r"^\$s(s|S|15Synchronization|10Foundation|8Dispatch)")

# A function that allocates, by design: were it found clean, the check itself would be broken.
CANARY = "Datapath.Program.__allocating_init("

SECTION = re.compile(r"^Disassembly of section (\S+):$")
SYMBOL = re.compile(r"^([0-9a-f]+) <(.+)>:$")
SIZE = re.compile(r"^[0-9a-f]{16} .{5} F \S+\s+([0-9a-f]{16}) (?:\.hidden )?(.+)$")
OFFSET = re.compile(r"^\s+([0-9a-f]+):")
RELOCATION = re.compile(r"^\s+[0-9a-f]+:\s+R_(\S+)\s+([^\s+-]+)(?:([+-])0x([0-9a-f]+))?")
BRANCH = re.compile(r"\s(?:callq?|jmpq?|j[a-z]+|bl?|b\.[a-z]+|cbn?z|tbn?z)\s.*<([^>+]+)(?:\+0x[0-9a-f]+)?>$")


def disassemble(objects):
    """The references of each function: {symbol: [symbols]}, in order."""
    tool = shutil.which("llvm-objdump") or shutil.which("objdump")
    if tool is None:
        sys.exit("neither llvm-objdump nor objdump is installed")
    graph = collections.defaultdict(list)
    for path in objects:
        command = [tool, "--syms", "--disassemble", "--reloc", "--no-show-raw-insn", str(path)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        starts, references = parse(text)
        for symbol, target in references:
            target = resolve(target, starts)
            graph[symbol] = graph[symbol]
            if target is not None and target != symbol and target not in graph[symbol]:
                graph[symbol].append(target)
    return graph


def parse(text):
    """Where functions start, {section: [(offset, symbol)]}, and pairs of a function and what it refers to: a
    name, a place (section, offset), or None for "nothing, but it exists". Code behind a function's end has no name
    in the symbol table and is a function of its own."""
    starts = collections.defaultdict(list)
    references = []
    sizes = {}
    section = current = end = None
    for line in text.splitlines():
        if end is not None and (match := OFFSET.match(line)) and int(match[1], 16) >= end:
            current, start, end = f"nameless behind {current}", end, None
            starts[section].append((start, current))
            references.append((current, None))
        if match := SECTION.match(line):
            section, current, end = match[1], None, None
        elif match := SYMBOL.match(line):
            current = match[2]
            starts[section].append((int(match[1], 16), current))
            end = int(match[1], 16) + sizes[current] if sizes.get(current) else None
            references.append((current, None))
        elif current is None:
            if match := SIZE.match(line):
                sizes[match[2]] = int(match[1], 16)
        elif match := RELOCATION.match(line):
            kind, target, sign, digits = match.groups()
            if target.startswith(".text"):
                # A local function is named by its section and offset; x86 counts from the next instruction.
                offset = int(digits or "0", 16) * (-1 if sign == "-" else 1)
                target = (target, offset + (4 if kind.startswith("X86_64_P") else 0))
            references.append((current, target))
        elif match := BRANCH.search(line):
            references.append((current, match[1]))
    return starts, references


def resolve(target, starts):
    if not isinstance(target, tuple):
        return target
    section, offset = target
    names = [name for start, name in starts[section] if start <= offset]
    return names[-1] if names else None


def demangle(names):
    tool = [shutil.which("swift-demangle")] if shutil.which("swift-demangle") else ["swift", "demangle"]
    command = [*tool, "--compact"]
    text = subprocess.run(command, check=True, capture_output=True, text=True, input="\n".join(names)).stdout
    return dict(zip(names, text.splitlines()))


def bare(name):
    """Without the words that the compiler puts in front."""
    return re.sub(r"^(static |function signature specialization <.*?> of )*", "", name)


def reach(graph, root):
    """All that a function refers to, each with the one it was found from."""
    found_from = {root: None}
    queue = collections.deque([root])
    while queue:
        symbol = queue.popleft()
        for target in graph.get(symbol, []):
            if target not in found_from:
                found_from[target] = symbol
                queue.append(target)
    return found_from


def way(found_from, symbol, readable):
    steps = []
    while symbol is not None:
        steps.append(readable.get(symbol, symbol))
        symbol = found_from[symbol]
    return "\n    <- ".join(steps)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build-path", type=pathlib.Path, default=pathlib.Path(".build/release"))
    parser.add_argument("--verbose", action="store_true", help="say what each function reaches")
    options = parser.parse_args()
    objects = [path for module in MODULES for path in sorted(options.build_path.glob(f"{module}.build/*.o"))]
    if not objects:
        sys.exit(f"no objects of {', '.join(MODULES)} under {options.build_path}: build with -c release first")
    graph = disassemble(objects)
    readable = demangle(list(graph))
    failures = 0
    checked = 0
    canaries = [name for name in graph if readable[name].startswith(CANARY)]
    if not any(FORBIDDEN.match(name) for canary in canaries for name in reach(graph, canary)):
        sys.exit(f"{CANARY}…) allocates, but this check does not see it: the check is broken")
    for prefix in ROOTS + OPTIONAL_ROOTS:
        roots = [
            name for name in graph if bare(readable[name]).startswith(prefix) and NO_ROOT not in readable[name]
        ]
        if not roots and prefix in ROOTS:
            print(f"{prefix}…) is in no object: was it renamed? ROOTS must follow.")
            failures += 1
        for root in roots:
            checked += 1
            found_from = reach(graph, root)
            outside = [name for name in found_from if name not in graph]
            bad = [name for name in outside if FORBIDDEN.match(name) or STANDARD_LIBRARY.match(name)]
            failures += len(bad)
            for name in bad:
                print(f"{readable[root]}\n  reaches {way(found_from, name, readable)}")
            if options.verbose:
                print(f"{readable[root]}: {len(found_from) - 1} symbols, outside: {outside or 'none'}")
    if failures:
        sys.exit(f"{failures} failures on the packet path")
    print(f"packet path: {checked} functions, no reference counting, no allocation, no locks")


if __name__ == "__main__":
    main()

"""The work of a request without any server: what a process can do that nobody has to ask.

python -m benchmarks.load.loop    for each line SECONDS KIND (portraits, mixed) of its input tells a line of JSON
"""

import json
import sys
import time
from typing import Any

from fpan.serve.inference.backends.runtime import Network

from benchmarks.load import pictures
from benchmarks.load.contestants import DETECTOR, GATEWAY, NETWORK
from benchmarks.load.peers.work import DETECTOR as FINDER
from benchmarks.load.peers.work import SEGM, Work


class _Timed:
    """A network, and the processor time that it takes."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self.cpu_s = 0.0

    def run(self, *asked: Any) -> Any:
        """As the network's."""
        began = time.process_time()
        told = self._network.run(*asked)
        self.cpu_s += time.process_time() - began
        return told


def main() -> None:
    """Works whenever it is told to, and tells what came of it."""
    timed: dict[str, _Timed] = {}

    def around(name: str, network: Network) -> _Timed:
        return timed.setdefault(name, _Timed(network))

    work = Work(around=around)
    network, detector = timed[SEGM[0]], timed[FINDER[0]]
    kinds = {"portraits": pictures.portraits(), "mixed": pictures.mixed()}
    for files in kinds.values():
        work(files[0][0])
    print("ready", flush=True)
    for line in sys.stdin:
        seconds, kind = line.split()
        began, cpu_began = time.perf_counter(), time.process_time()
        network.cpu_s = detector.cpu_s = faces = 0.0
        turn = 0
        while time.perf_counter() - began < float(seconds):
            data, weight = kinds[kind][turn % len(kinds[kind])]
            work(data)
            turn, faces = turn + 1, faces + weight
        cpu_s = {NETWORK: network.cpu_s, DETECTOR: detector.cpu_s}
        cpu_s[GATEWAY] = time.process_time() - cpu_began - sum(cpu_s.values())
        told = {"faces": faces, "seconds": time.perf_counter() - began, "cpu_s": cpu_s}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()

"""Copy Debian's adbd with its authentication on.

Debian patches `auth_required = false` into adbd's start-up. One byte, the constant stored into that variable
just before the property that would turn it on is looked up, makes it true again.
"""

import re
import sys
from pathlib import Path

# lea rdx, [rip + auth_required]; mov byte [rax], 0; lea rdi, [rip + ...]; call
STORE_FALSE = re.compile(rb"\x48\x8d\x05....\xc6\x00(\x00)\x48\x8d\x3d....\xe8", re.DOTALL)


def main(source: str, target: str) -> None:
    binary = bytearray(Path(source).read_bytes())
    (store,) = STORE_FALSE.finditer(bytes(binary))
    binary[store.start(1)] = 1
    Path(target).write_bytes(binary)
    Path(target).chmod(0o755)


if __name__ == "__main__":
    main(*sys.argv[1:])

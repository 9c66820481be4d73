"""One file, opened in every way at once, at random: whoever reads sees what was written last, whichever way it was.

Arguments: the file, a seed, how many steps. As fsx does, it keeps what the file should be in memory.
"""
import ctypes, mmap, os, random, sys

path, seed, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
LONGEST = 300_000
chance = random.Random(seed)
libc = ctypes.CDLL(None, use_errno=True)
PUNCH = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE

open(path, 'wb').close()
should = bytearray()
WAYS = [os.O_RDONLY, os.O_WRONLY, os.O_WRONLY | os.O_APPEND, os.O_RDWR, os.O_WRONLY | os.O_DSYNC]
handles = {way: None for way in WAYS}
kept = None


def handle(ways):
    """One of these, open; another is closed now and then, so that each comes before and after each other."""
    global kept
    if chance.random() < 0.15:
        way = chance.choice(WAYS)
        if way == os.O_RDWR and kept:
            kept.close()
            kept = None
        if handles[way] is not None:
            os.close(handles[way])
            handles[way] = None
    way = chance.choice(ways)
    if handles[way] is None:
        handles[way] = os.open(path, way)
    return handles[way], way


def check(what, at, seen):
    wanted = bytes(should[at:at + len(seen)])
    if seen != wanted:
        first = next(i for i in range(len(seen)) if i >= len(wanted) or seen[i] != wanted[i])
        sys.exit(f'{what} at {at}: byte {at + first} is {seen[first]}, should be {wanted[first:first + 1].hex() or "none"}')


def write():
    fd, way = handle([way for way in WAYS if way != os.O_RDONLY])
    data = bytes([chance.randrange(1, 256)]) * chance.choice([chance.randrange(1, 3000), chance.randrange(1, 40_000)])
    at = len(should) if way & os.O_APPEND else chance.randrange(0, LONGEST)
    if at + len(data) > LONGEST:
        return
    should.extend(bytes(max(0, at - len(should))))
    should[at:at + len(data)] = data
    while data:
        written = os.write(fd, data) if way & os.O_APPEND else os.pwrite(fd, data, at)
        data, at = data[written:], at + written


def read():
    fd, _ = handle([os.O_RDONLY, os.O_RDWR])
    at = chance.randrange(0, LONGEST)
    seen = os.pread(fd, chance.randrange(1, 30_000), at)
    check('read', at, seen)
    assert len(seen) > 0 or at >= len(should), 'nothing was read'


def through_mapping():
    global kept
    if not should:
        return
    fd, _ = handle([os.O_RDWR])
    if kept is None or len(kept) > len(should):
        if kept:
            kept.close()
        kept = mmap.mmap(fd, len(should))
    at = chance.randrange(0, len(kept))
    end = min(len(kept), at + chance.randrange(1, 9000))
    if chance.random() < 0.5:
        check('mapping', at, kept[at:end])
        return
    data = bytes([chance.randrange(1, 256)]) * (end - at)
    kept[at:end] = data
    should[at:end] = data
    if chance.random() < 0.2:
        kept.flush()


def read_only_mapping():
    if not should:
        return
    fd, _ = handle([os.O_RDONLY])
    with mmap.mmap(fd, len(should), prot=mmap.PROT_READ) as seen:
        at = chance.randrange(0, len(should))
        check('mapping for reading', at, seen[at:at + 9000])


def cut():
    global kept
    if kept:
        kept.close()
        kept = None
    fd, _ = handle([os.O_WRONLY, os.O_RDWR])
    to = chance.randrange(0, LONGEST)
    os.ftruncate(fd, to)
    del should[to:]
    should.extend(bytes(to - len(should)))


def punch():
    fd, _ = handle([os.O_WRONLY, os.O_RDWR])
    at, count = chance.randrange(0, LONGEST), chance.randrange(1, 20_000)
    if libc.fallocate(fd, PUNCH, ctypes.c_long(at), ctypes.c_long(count)):
        sys.exit(f'fallocate: {os.strerror(ctypes.get_errno())}')
    end = min(len(should), at + count)
    if at < end:
        should[at:end] = bytes(end - at)


for step in range(steps):
    try:
        chance.choice([write, write, write, read, read, through_mapping, through_mapping, read_only_mapping, cut, punch])()
    except OSError as error:
        sys.exit(f'step {step}: {error}')
if kept:
    kept.close()
with open(path, 'rb') as file:
    check('at the end', 0, file.read())
assert os.path.getsize(path) == len(should)

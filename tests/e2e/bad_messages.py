"""Messages that cannot be run: mutations of real ones, from a seed, and shapes made by hand.

Whatever a mutation leaves readable names a task that the test worker does not have, so every one of them belongs in
the dead letters. The shapes made by hand call a task that it has, and are wrong in exactly one way.
"""
import base64
import bz2
import ctypes
import ctypes.util
import json
import lzma
import pathlib
import random
import uuid
import zlib

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden" / "messages.json"
TOKENS = [b"null", b"true", b"-1", b"1e999", b"{}", b"[]", b'""', b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b'"task"',
          b'"id"', b"9" * 400, b"[" * 300, b"\\ud800", b"NaN", b"}", b"]", b'"', b"\\", b","]


def golden():
    """Real messages of tasks nobody here knows, as (headers, properties, rest of the envelope, body)."""
    for entries in json.loads(GOLDEN.read_text()).values():
        for entry in entries:
            envelope = json.loads(entry["raw"])
            if not str(envelope["headers"].get("task", "")).startswith("celery."):
                yield entry["raw"].encode(), envelope


def mutate(random_, data, others):
    """Changed in one to six places; never what it was."""
    out = bytearray(data)
    while bytes(out) == data:
        for _ in range(random_.randint(1, 6)):
            at, end = sorted(random_.randrange(len(out) + 1) for _ in range(2))
            what = random_.randrange(8)
            if what == 0 and out:
                at = random_.randrange(len(out))
                out[at] ^= 1 << random_.randrange(8)
            elif what == 1:
                out[at:at] = bytes(random_.randrange(256) for _ in range(random_.randint(1, 8)))
            elif what == 2:
                del out[at:min(end, at + random_.choice((1, 4, 64)))]
            elif what == 3:
                out[at:at] = out[at:min(end, at + 200)]
            elif what == 4:
                token = random_.choice(TOKENS)
                out[at:at + random_.choice((0, len(token)))] = token
            elif what == 5:
                del out[at:]
                break
            elif what == 6:
                other = random_.choice(others)
                cut = random_.randrange(len(other))
                out[at:] = other[cut:]
            elif out:
                at = random_.randrange(len(out))
                out[at] = random_.choice(b'"{}[],:0123456789\\ntf')
    return bytes(out)


def headers(**changes):
    task_id = str(uuid.uuid4())
    return {"lang": "py", "task": "cpp.echo", "id": task_id, "root_id": task_id, "eta": None, "expires": None,
            "retries": 0, "timelimit": [None, None], "group": None, "group_index": None, "parent_id": None,
            "ignore_result": False, "argsrepr": "()", "kwargsrepr": "{}", "origin": "t@t", **changes}


GOOD_BODY = b'[["hello"], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'


def envelope(body=GOOD_BODY, content_type="application/json", properties=None, **changes):
    """The parts of one message: what both brokers store, each in its way."""
    return {"body": body, "content-type": content_type, "content-encoding": "utf-8", "headers": headers(**changes),
            "properties": properties or {}}


# Header -> values of the wrong type or range (fault F119).
WRONG_HEADERS = {
    "retries": ["x", -1, 1.5, [], {}, True, 2**32, 10**400],
    "eta": [5, "tomorrow", True, [], {}, "0000-01-01T00:00:00", "2026-02-30T00:00:00", "10000-01-01T00:00:00", 1e400],
    "expires": [5.5, "x", [], {}, False, "2026-13-01T00:00:00"],
    "timelimit": [{}, "x", 5, [1], [1, 2, 3], ["a", "b"], [-1, None], [None, float("nan")], [[], {}]],
    "id": [5, None, "", [], {}, True],
    "task": [5, None, "", [], {}, False],
    "root_id": [5, [], {}], "parent_id": [5, [], True], "group": [5, [], {}],
    "group_index": ["x", 1.5, [], True], "ignore_result": ["yes", 1, [], {}],
    "argsrepr": [5, []], "kwargsrepr": [{}, True], "origin": [7, {}], "shadow": [7, []], "lang": [7, []],
    "replaced_task_nesting": ["x", []], "stamped_headers": ["x", 5, [1], {}], "stamps": [[], "x", 5],
    "compression": ["rot13", 5, [], "application/x-gzip", "zstd", "application/x-bz2", "application/x-lzma"],
}
# Bodies that are no [args, kwargs, embed] (faults F110 to F114).
WRONG_BODIES = [
    b"", b"null", b"[]", b"[[]]", b"[[], {}]", b"[[], {}, {}, {}]", b"[{}, {}, {}]", b"[[], [], {}]", b"[[], {}, []]",
    b"[[], {}, 5]", b'"text"', b"not json", b"[[1,], {}, {}]", b"[[1], {}, {}", b"[[1], {}, {}]]", b"[['x'], {}, {}]",
    b"\xff\xfe", b'[["\xff"], {}, {}]', b'[["\xed\xa0"], {}, {}]', b"[[1], {1: 2}, {}]", b"\xef\xbb\xbf[[], {}, {}]",
    b"[" * 200_000, b"[" * 200_000 + b"]" * 200_000, b"[[" + b"[" * 500 + b"]" * 500 + b"], {}, {}]", b"[[tru], {}, {}]",
    b"[[01], {}, {}]", b"[[1e], {}, {}]", b'[["\\x"], {}, {}]', b'[["\n"], {}, {}]', b"[[1] {} {}]", b"[[+1], {}, {}]",
    b'[[], {}, {"callbacks": 5}]', b'[[], {}, {"callbacks": ["x"]}]', b'[[], {}, {"chord": []}]', b'[[], {}, {"chain": {}}]',
    b'[[], {}, {"errbacks": [[]]}]', b"\x80\x04\x95cos\nsystem\n(S'true'\ntR.",
]
PICKLE = b"\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94."
WRONG_CONTENT = ["application/x-python-serialize", "application/x-yaml", "application/x-msgpack", "application/data",
                 "text/plain", "application/json; charset=latin-1", "application/JSON2", "*/*", "\x00", "json\n"]


def by_hand():
    """Parts that are wrong in one way each."""
    for name, values in WRONG_HEADERS.items():
        for value in values:
            yield envelope(**{name: value})
    for body in WRONG_BODIES:
        yield envelope(body)
    for content_type in WRONG_CONTENT:
        yield envelope(PICKLE if "python" in content_type else GOOD_BODY, content_type)
    for method, pack in CODECS.items():
        packed = pack(GOOD_BODY)
        if packed is not None:
            yield envelope(packed[:-3], compression=method)
            yield envelope(GOOD_BODY, compression=method)
            yield envelope(packed[:5] + b"\xff" + packed[6:9] + packed[11:], compression=method)
            yield envelope(pack(b'[["' + b"x" * 1_000_000 + b'"], {}, {}]'), compression=method)  # unpacks beyond 100:1


# Texts in the list that are no envelope at all (faults F108 and F109).
NO_ENVELOPES = [
    b"\xff\xfe\x00binary", b"{", b"[]", b"null", b"5", b'"x"', b"{}", b"[" * 200_000, b"{\"a\":" * 200_000, b"\x00" * 1000,
    b"<xml/>", b'{"body": "!!!", "headers": {}, "properties": {"body_encoding": "base64"}}',
    b'{"body": "e30=", "headers": {}, "properties": {"delivery_info": {}}}', b'{"body": 5, "headers": {}, "properties": {}}',
    b'{"headers": {}, "properties": {}}', b'{"body": "", "headers": []}', b'{"body": "", "headers": {}, "properties": []}',
    b'{"body": "", "headers": {}}', b'{"body": null, "headers": null, "properties": null}',
    b'{"body": "", "headers": {}, "properties": {"body_encoding": "rot13"}}',
    b'{"body": "", "headers": {}, "properties": {"delivery_info": 5}}', b'{"body": "", "headers": {}, "properties": {}} x',
    b'{"body": "' + b"\xff" + b'", "headers": {}, "properties": {}}', b'\xef\xbb\xbf{"body": "", "headers": {}, "properties": {}}',
    b'{"body": "", "headers": {"' + b'x": 1, "'.join(b"%d" % i for i in range(100)) + b'": 1}, "properties": {}}',
    b'{"body": "", "headers": {' + b",".join(b'"%d":0' % i for i in range(150_000)) + b'}, "properties": {}}',
]


def _library(name, function, *arguments):
    """Packs by a C library that Errand needs anyway; None where it is missing."""
    path = ctypes.util.find_library(name)
    if path is None:
        return None
    return getattr(ctypes.CDLL(path), function)(*arguments)


def _brotli(data):
    room = ctypes.create_string_buffer(len(data) // 2 + 1024)
    size = ctypes.c_size_t(len(room))
    done = _library("brotlienc", "BrotliEncoderCompress", 1, 22, 0, ctypes.c_size_t(len(data)), data, ctypes.byref(size), room)
    return room.raw[:size.value] if done else None


def _zstd(data):
    path = ctypes.util.find_library("zstd")
    if path is None:
        return None
    library = ctypes.CDLL(path)
    library.ZSTD_compress.restype = ctypes.c_size_t
    room = ctypes.create_string_buffer(len(data) // 2 + 1024)
    size = library.ZSTD_compress(room, ctypes.c_size_t(len(room)), data, ctypes.c_size_t(len(data)), 1)
    return room.raw[:size] if size <= len(room) else None


# As fast as each of them goes: some pack megabytes in every test run.
CODECS = {"application/x-gzip": lambda data: zlib.compress(data, 1), "application/x-bz2": lambda data: bz2.compress(data, 1),
          "application/x-lzma": lambda data: lzma.compress(data, preset=0), "application/x-brotli": _brotli,
          "application/zstd": _zstd}


def to_list_entry(parts):
    """As kombu stores it in a Redis list."""
    one = dict(parts)
    one["body"] = base64.b64encode(parts["body"]).decode()
    one["properties"] = {"delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "native"}, "priority": 0,
                         "body_encoding": "base64", "delivery_tag": str(uuid.uuid4()), **parts["properties"]}
    return json.dumps(one).encode()


def to_row(parts):
    """As the SQLite file stores it: meta and body."""
    meta = {"headers": parts["headers"], "properties": parts["properties"], "content_type": parts["content-type"],
            "content_encoding": parts["content-encoding"], "exchange": "", "routing_key": "native"}
    return json.dumps(meta, separators=(",", ":")).encode(), parts["body"]


def list_entries(count, seed):
    """`count` entries of a Redis list."""
    random_ = random.Random(seed)
    originals = [raw for raw, _ in golden()]
    out = list(NO_ENVELOPES)
    while len(out) < count // 3:
        out += [to_list_entry(parts) for parts in by_hand() if len(parts["body"]) < 100_000 or len(out) < 1000]
    while len(out) < count:
        out.append(mutate(random_, random_.choice(originals), originals))
    random_.shuffle(out)
    return out


def rows(count, seed):
    """`count` rows of the SQLite file, as (meta, body)."""
    random_ = random.Random(seed)
    originals = []
    for _, one in golden():
        body = base64.b64decode(one["body"])
        originals.append(to_row({**one, "body": body, "properties": {}}))
    metas = [meta for meta, _ in originals]
    out = [(text, b"x") for text in NO_ENVELOPES]
    while len(out) < count // 3:
        out += [to_row(parts) for parts in by_hand() if len(parts["body"]) < 100_000 or len(out) < 1000]
    while len(out) < count:
        meta, body = random_.choice(originals)
        if not json.loads(meta)["headers"].get("task"):
            # Protocol 1: the task's name is in the body, which stays as it is.
            out.append((mutate(random_, meta, metas), body))
        else:
            out.append((mutate(random_, meta, metas), mutate(random_, body, [body]) if random_.random() < 0.5 else body))
    random_.shuffle(out)
    return out

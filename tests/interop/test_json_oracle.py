"""Python's own json module is the oracle of our reader and writer.

Every text goes through json_echo (read, then written again) and must come out as json.dumps(json.loads(text)) would
write it; what Python refuses must be refused. The reader compared with is kombu's: bytes are UTF-8, strictly.
Where Errand is stricter on purpose is written down in docs/protocol/json.md and tested below by name.

Generated texts come from a fixed seed and from a fresh one, which is printed; ERRAND_SEED=N repeats it.
"""
import json
import os
import random
import re
import struct
import subprocess

import pytest
from conftest import program

FIXED_SEED = 20261122
VALUES = 6_000
DAMAGED = 12_000
STYLES = {
    "plain": {},
    "compact": {"separators": (",", ":")},
    "unicode": {"ensure_ascii": False},
    "indented": {"indent": 2},
}
EDGE_INTEGERS = [0, 1, -1, 2**31, -(2**31), 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**64,
                 2**64 + 1, 10**18, 10**19, 10**100, -(10**4299)]
EDGE_FLOATS = [0.0, -0.0, 1.0, -1.0, 0.1, 1e15, 1e16, 9999999999999998.0, 1e17, 123456789012345680.0, 1e22, 1e23, 1e-4, 1e-5,
               9.999e-5, 1.5e-7, 5e-324, 2.2250738585072014e-308, 2.225073858507201e-308, 1.7976931348623157e308, 1e100,
               1e-100, 3.141592653589793, 2.0**53, 2.0**63, float("inf"), float("-inf"), float("nan")]


def echo(texts, style="plain"):
    """What json_echo makes of each text: ("ok", bytes) or ("error", message)."""
    frames = b"".join(b"%s %d\n%s" % (style.encode(), len(text), text) for text in texts)
    done = subprocess.run([program("json_echo")], input=frames, stdout=subprocess.PIPE, check=True, timeout=300)
    answers, at = [], 0
    while at < len(done.stdout):
        end = done.stdout.index(b"\n", at)
        verdict, length = done.stdout[at:end].decode().split()
        at = end + 1 + int(length)
        body = done.stdout[end + 1:at]
        answers.append((verdict, body if verdict == "ok" else body.decode()))
    assert len(answers) == len(texts)
    return answers


def python(text, style="plain"):
    """What Python makes of the same bytes, in the same form."""
    try:
        value = json.loads(text.decode("utf-8"))
        written = json.dumps(value, **STYLES[style])
    except (ValueError, RecursionError) as error:
        return "error", str(error)
    # Python leaves lone surrogates as they are when it may write beyond ASCII, and then cannot encode the text.
    written = re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", written)
    return "ok", written.encode()


def depth(text):
    """Most brackets open at a time outside of strings; counts what a reader without a limit would nest."""
    deepest = level = 0
    for token in re.findall(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', text, re.DOTALL):
        level += (token in b"[{") - (token in b"]}")
        deepest = max(deepest, level)
    return deepest


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def integer(self):
        draw = self.random
        kind = draw.randrange(4)
        if kind == 0:
            return draw.choice(EDGE_INTEGERS)
        if kind == 1:
            return draw.randint(-100, 100)
        return draw.choice((-1, 1)) * draw.getrandbits(draw.choice((8, 31, 53, 63, 64, 65, 128, 500)))

    def float(self):
        draw = self.random
        kind = draw.randrange(4)
        if kind == 0:
            return draw.choice(EDGE_FLOATS)
        if kind == 1:
            return draw.randint(-10**6, 10**6) / 10 ** draw.randrange(8)
        if kind == 2:
            return draw.randint(1, 10**17) * 10.0 ** draw.randint(-30, 30)
        return struct.unpack("<d", struct.pack("<Q", draw.getrandbits(64)))[0]

    def text(self):
        draw = self.random
        spans = [(0x20, 0x7e)] * 6 + [(0, 0x1f), (0x7f, 0x9f), (0xa0, 0x7ff), (0x800, 0xd7ff), (0xd800, 0xdfff),
                                      (0xe000, 0xffff), (0x10000, 0x10ffff)]
        length = draw.choice((0, 1, 2, 5, 8, 9, 15, 16, 17, 40))
        span = draw.choice(spans) if draw.random() < 0.5 else None
        return "".join(chr(draw.randint(*(span or draw.choice(spans)))) for _ in range(length))

    def value(self, room=6):
        draw = self.random
        kind = draw.randrange(10 if room > 0 else 7)
        if kind < 2:
            return self.text()
        if kind < 4:
            return self.integer()
        if kind < 6:
            return self.float()
        if kind == 6:
            return draw.choice((None, True, False, [], {}, ""))
        length = draw.choice((0, 1, 2, 3, 5, 20)) if room > 2 else draw.randrange(3)
        if kind == 7:
            return [self.value(room - draw.randint(1, 3)) for _ in range(length)]
        return {self.text(): self.value(room - draw.randint(1, 3)) for _ in range(length)}

    def blanks(self):
        return self.random.choice(("", "", "", " ", "\n", "\t", "\r\n", "  "))

    def write_text(self, text):
        """A JSON string that reads as `text`, in some of the ways there are to write each character."""
        out = []
        for character in text:
            code = ord(character)
            must = code < 0x20 or character in '"\\' or 0xd800 <= code < 0xe000
            if not must and self.random.random() < 0.8:
                out.append(character)
            elif character in '"\\/' and self.random.random() < 0.5:
                out.append("\\" + character)
            elif character in "\b\f\n\r\t" and self.random.random() < 0.5:
                out.append(json.dumps(character)[1:-1])
            else:
                units = character.encode("utf-16-be", "surrogatepass")
                form = self.random.choice(("\\u%04x", "\\u%04X"))
                out.extend(form % unit for unit in struct.unpack(f">{len(units) // 2}H", units))
        return '"' + "".join(out) + '"'

    def write_float(self, number):
        draw = self.random
        form = draw.randrange(4)
        if number != number or number in (float("inf"), float("-inf")) or form == 0:
            return json.dumps(number)
        if form == 1:
            return f"{number:.{draw.randrange(25)}e}"
        if form == 2:
            return f"{number:.{draw.randrange(25)}E}".replace("E+", "E")
        return f"{number:.{draw.randint(1, 20)}f}"

    def write(self, value):
        """A JSON text of the value, with blanks and spellings that json.dumps would not choose."""
        if isinstance(value, str):
            body = self.write_text(value)
        elif isinstance(value, float):
            body = self.write_float(value)
        elif isinstance(value, list):
            body = "[" + ",".join(self.write(item) for item in value) + (self.blanks() if not value else "") + "]"
        elif isinstance(value, dict):
            members = list(value.items())
            if members and self.random.random() < 0.2:
                members.append((self.random.choice(members)[0], self.value(0)))
            written = ",".join(f"{self.blanks()}{self.write_text(key)}{self.blanks()}:{self.write(member)}"
                               for key, member in members)
            body = "{" + (written or self.blanks()) + "}"
        else:
            body = json.dumps(value)
        return self.blanks() + body + self.blanks()

    def damage(self, text):
        draw = self.random
        text = bytearray(text)
        interesting = list(b'"\\[]{},:0123456789eE.+-ntfuINaxd \n\t\r/\x00\x1f\x7f\x80\xbf\xc0\xc3\xe2\xed\xef\xf0\xf5\xff')
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            at = draw.randrange(len(text) + 1)
            kind = draw.randrange(5)
            if kind == 0:
                del text[at:at + draw.choice((1, 1, 2, 8))]
            elif kind == 1:
                text[at:at] = bytes([draw.choice(interesting)])
            elif kind == 2:
                text[at:at + 1] = bytes([draw.choice(interesting)])
            elif kind == 3:
                del text[at:]
            else:
                begin = draw.randrange(len(text) + 1)
                text[at:at] = text[begin:begin + draw.randrange(12)]
        return bytes(text)


@pytest.fixture(params=["fixed", "fresh"])
def generator(request):
    given = os.environ.get("ERRAND_SEED")
    seed = FIXED_SEED if request.param == "fixed" else int(given) if given else random.SystemRandom().getrandbits(32)
    print(f"seed {seed}; ERRAND_SEED={seed} repeats it")  # pytest shows it when the test fails
    return Generator(seed)


def assert_agreement(texts, style="plain"):
    """Each text is refused by both or written alike by both; returns how many were refused."""
    refused = 0
    for text, ours in zip(texts, echo(texts, style)):
        expected = python(text, style)
        if expected[0] == "error":
            refused += 1
            assert ours[0] == "error", f"Python refuses {text!r}: {expected[1]}"
        elif ours[0] == "error" and "(limit depth)" in ours[1]:
            assert depth(text) > 128, text
        else:
            assert ours == expected, f"from {text!r} in style {style}"
    return refused


@pytest.mark.parametrize("style", STYLES)
def test_what_python_writes_comes_back_byte_for_byte(generator, style):
    texts = [json.dumps(generator.value()).encode() for _ in range(VALUES // len(STYLES))]
    assert assert_agreement(texts, style) == 0


def test_any_spelling_is_read_as_python_reads_it(generator):
    assert assert_agreement([generator.write(generator.value()).encode() for _ in range(VALUES)]) == 0


def test_edge_numbers_come_back_byte_for_byte():
    numbers = EDGE_INTEGERS + EDGE_FLOATS + [2.0**power for power in range(-1074, 1024)]
    numbers += [10.0**power for power in range(-323, 309)] + [-(10**power) for power in range(0, 60)]
    assert assert_agreement([json.dumps(number).encode() for number in numbers]) == 0


def test_damaged_texts_are_refused_by_both_or_read_alike(generator):
    texts = []
    while len(texts) < DAMAGED:
        whole = generator.write(generator.value(3)).encode()
        texts.extend(generator.damage(whole) for _ in range(4))
    refused = assert_agreement(texts)
    # Damage that is never noticed would test nothing, and so would damage that is never harmless.
    assert DAMAGED // 4 < refused < DAMAGED


MALFORMED = [
    b"", b" ", b"[", b"]", b"{", b"}", b"[1", b"[1,", b"[1,]", b"[,1]", b"[1 2]", b"[1,,2]", b"{,}", b'{"a"}', b'{"a":}',
    b'{"a":1,}', b'{"a" 1}', b"{1:2}", b"{a:1}", b"{'a':1}", b'{"a":1 "b":2}', b"[}", b"{]", b'["a"', b'"', b'"abc', b'"\\',
    b'"\\"', b'"\\x41"', b'"\\u"', b'"\\u12"', b'"\\u123"', b'"\\u12g4"', b'"\\u+123"', b'"\\U1234"', b'"\\ud834\\u"',
    b'"\\ud834\\u12"', b'"\\ud834\\uzzzz"', b'"\\ud834\\', b"'a'", b"nul", b"nulll", b"NULL", b"True", b"tru", b"falsee",
    b"nan", b"-nan", b"-NaN", b"+NaN", b"inf", b"-inf", b"infinity", b"-infinity", b"+Infinity", b"Infinit", b"-Infinit",
    b"--1", b"+1", b"-", b"- 1", b"01", b"-01", b"00", b".5", b"-.5", b"1.", b"1.e5", b"1e", b"1e+", b"1e5.5", b"0x10", b"1_000",
    b"1,000", b"1 2", b"[1] [2]", b"[1]x", b"[1]\x00", b"\x00", b"\x0b1", b"\x0c1", b"\xc2\xa01", b"\xe2\x80\xa81", b'"\x00"', b'"\x1f"',
    b'"\n"', b'"\t"', b'"a\rb"', b'{"\n":1}', b'"\x80"', b'"\xff"', b'"\xc0\x80"', b'"\xc1\xbf"', b'"\xe0\x80\x80"', b'"\xed\xa0\x80"',
    b'"\xf0\x80\x80\x80"', b'"\xf4\x90\x80\x80"', b'"\xf5\x80\x80\x80"', b'"\xc3"', b'"\xe2\x82"', b'"\xf0\x9f\x98"', b"\xef\xbb\xbf1",
    b"\xef\xbb\xbf{}", b"\xff\xfe1\x00", b"1\x00", b"// comment\n1", b"/* */ 1", b"[1] // end", b"undefined", b"\xd9\xa1",
    b"9" * 4301, b"-" + b"9" * 4301,
]
ACCEPTED = [
    b" 1 ", b"\r\n\t 1", b"-0", b"-0.0", b"0e0", b"-0e1", b"0.0e-0", b"1E5", b"1e+5", b"1E-05", b"1e400", b"-1e400", b"1e-400",
    b"1e99999999999999999999", b"1e-99999999999999999999", b"0e99999999999999999999", b"2e-324", b"3e-324", b"1" + b"0" * 400 + b".0",
    b"0." + b"0" * 400 + b"1e401", b"179769313486231580793728971405301e276", b"2.4703282292062327e-324", b"9007199254740993.0",
    b"18446744073709551616", b"-9223372036854775809", b"9" * 4300, b"-" + b"9" * 4300, b"NaN", b"Infinity", b"-Infinity",
    b"[NaN,Infinity,-Infinity]", b'{"a":1,"b":2,"a":3}', b'{"":0,"":1}', b'{"\\u0061":1,"a":2}', b'"\\ud800"', b'"\\udc00\\ud800"',
    b'"\\ud800\\ud834\\udd1e"', b'"\\ud834\\udd1e"', b'"\\uD834\\uDD1E"', b'"\\ud834x\\udd1e"', b'"\\ud834\\n"', b'"\\u0000\\u001f"', b'"\x7f"',
    b'"\\/"', b'"\xf4\x8f\xbf\xbf\xef\xbf\xbf\xc2\x80"', b'"\xe2\x80\xa8\xe2\x80\xa9"', b"[" * 128 + b"]" * 128, b'{"a":' * 127 + b"[]" + b"}" * 127,
    b"[[],{},[{}]]", b'{"__type__":"date","__value__":"2030-01-02"}', b'{"__type__":"x","__value__":1,"more":2}',
]


@pytest.mark.parametrize("style", STYLES)
def test_the_corpus_of_accepted_texts_is_written_as_python_writes_it(style):
    assert assert_agreement(ACCEPTED, style) == 0


def test_the_corpus_of_malformed_texts_is_refused_by_both():
    assert assert_agreement(MALFORMED) == len(MALFORMED)


@pytest.mark.parametrize("text, names", [
    (b"[" * 129 + b"]" * 129, "limit depth"),
    (b"[" * 200_000, "limit depth"),
    (b"[" + b"0," * 100_000 + b"0]", "limit nodes"),
    (b"{" + b",".join(b'"%d":0' % i for i in range(100_001)) + b"}", "limit nodes"),
    (b'"' + b"x" * (16 << 20) + b'"', "limit bytes"),
    (b"9" * 4301, "limit integer_digits"),
    (b"\xef\xbb\xbf[]", "byte order mark"),
    (b'{"__type__":"surprise","__value__":1}', "__type__"),
], ids=lambda case: case if isinstance(case, str) else "")
def test_where_errand_is_stricter_it_names_the_limit(text, names):
    [(verdict, message)] = echo([text])
    assert verdict == "error"
    assert names in message
    assert len(message) < 200

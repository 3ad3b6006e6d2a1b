"""Changes of JSON, TOML and lines of settings: of words, numbers, brackets and nesting."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from tests.fuzz.mutation import raw

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[A-Za-z_][\w.]*|[-+]?\d[\d.eE+-]*|\s+|.', re.DOTALL)
WORDS = (
    *(b"0", b"-1", b"1e400", b"1e-400", b"NaN", b"Infinity", b"-Infinity", b"nan", b"inf", b"0x1f", b"0o7", b"1_000"),
    *(b"9223372036854775808", b"9" * 400, b"9" * 5000, b"1." + b"0" * 400, b"true", b"false", b"null", b"[]", b"{}"),
    *(b'""', b'"\\u0000"', b'"\\ud800"', b'"\\u202e"', b'"\xff"', b'"' + b"a" * 400 + b'"', b"\x00", b"\xef\xbb\xbf"),
    *(b"1979-05-27T07:32:00Z", b"'", b"'''", b"#", b"=", b"\n", b",", b"~", b"~nobody/x", b"::1", b"[::1]:7000", b"%"),
    *(b"127.0.0.1:7000", b"0.0.0.0:0", b"host:99999", b"*", b"..", b"/", b"on", b"off", b"mean", b"\r\n", b"\xc2\x85"),
)
DEPTHS = (10, 100, 1500, 20000)


def change(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """One change of a text; ``others`` are texts from which words may be taken."""
    tokens = _TOKEN.findall(data)
    if not tokens:
        return random.choice(WORDS)
    place = random.randrange(len(tokens))
    match random.randrange(10):
        case 0 | 1 | 2:
            tokens[place] = random.choice(WORDS)
        case 3:
            tokens.insert(place, random.choice(WORDS))
        case 4:
            del tokens[place : place + random.choice((1, 1, 2, 5))]
        case 5:
            block = tokens[place : place + random.choice((1, 2, 5, 20))]
            tokens[place:place] = block * random.choice((1, 1, 2, 50))
        case 6 if others:
            donor = _TOKEN.findall(random.choice(others))
            if donor:
                tokens[place] = random.choice(donor)
        case 7 if random.random() < 0.2:
            opening, closing = random.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"{a=", b"}")))
            depth = random.choice(DEPTHS)
            tokens[place] = opening * depth + tokens[place] + closing * depth
        case 8:
            other = random.randrange(len(tokens))
            tokens[place], tokens[other] = tokens[other], tokens[place]
        case _:
            tokens[place] = raw.change(random, tokens[place], ())
    return b"".join(tokens)

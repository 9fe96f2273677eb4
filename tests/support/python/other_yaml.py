"""Reads pairs {"yaml": text, "value": JSON} from stdin, one each line, and prints those that PyYAML reads as another
value. cloud-init's reader is SafeLoader; its twin in C is ten times as fast, so all texts go through that one and
every n-th through the other (n is the argument).
"""

import json
import sys

import yaml


def exact(value):
    """The value with its types: True is not 1, and a date is no text."""
    if isinstance(value, dict):
        return {(type(k).__name__, k): exact(v) for k, v in value.items()}
    if isinstance(value, list):
        return [exact(v) for v in value]
    return (type(value).__name__, value)


def read(text, loader):
    try:
        return exact(yaml.load(text, Loader=loader))
    except Exception as error:
        return f"unreadable: {error}"


every = int(sys.argv[1])
count = 0
for number, line in enumerate(sys.stdin):
    pair = json.loads(line)
    wanted = exact(pair["value"])
    for loader in [yaml.CSafeLoader] + [yaml.SafeLoader] * (number % every == 0):
        got = read(pair["yaml"], loader)
        if got != wanted:
            print(json.dumps({"loader": loader.__name__, "got": repr(got), **pair}))
    count += 1
print(count)

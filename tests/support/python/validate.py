"""Judges YAML texts by a JSON Schema, as an editor does.

Reads {"schema": ..., "texts": [...]} and writes for each text null, or what is wrong with it.
"""

import json
import re
import sys

import yaml
from jsonschema import Draft7Validator


class Core(yaml.SafeLoader):
    """YAML 1.2's core schema, which editors and foundry follow; PyYAML's own is that of 1.1."""

    yaml_implicit_resolvers = {}


for tag, pattern in [
    ("bool", "true|false"),
    ("null", "~|null|Null|NULL|"),
    ("int", "[-+]?(0|[1-9][0-9]*)"),
    ("float", r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan"),
    ("merge", "<<"),
]:
    Core.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), None)


def judge(validator, text):
    try:
        documents = [document for document in yaml.load_all(text, Core) if document is not None]
    except (yaml.YAMLError, ValueError) as error:
        return f"not YAML: {error}"
    if not documents:
        return "nothing"
    for document in documents:
        for error in validator.iter_errors(document):
            return f"{'.'.join(map(str, error.path))}: {error.message}"
    return None


work = json.load(sys.stdin)
Draft7Validator.check_schema(work["schema"])
validator = Draft7Validator(work["schema"])
json.dump([judge(validator, text) for text in work["texts"]], sys.stdout)

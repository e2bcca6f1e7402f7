#!/usr/bin/env python3
"""docs/experiment.schema.json against the program, by somebody else's validator (jsonschema).

    METALORA_BUILD=build python3 live_schema.py

The schema itself is valid; every file of configs/ is valid by it; every broken file of tests/experiments/broken is
invalid, but for those listed here with the reason why a schema cannot know; and for every key, values in, at and beyond
its bounds get the same verdict from the schema and from 'metalora check --set'."""
import json
import os
import re
import subprocess
import sys
import tempfile

import jsonschema
import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PROGRAM = os.path.join(os.environ.get("METALORA_BUILD", os.path.join(ROOT, "build")), "metalora")

# What one key's schema cannot know of a broken file.
BEYOND = {
    "between keys": """adapt_norm_without_norm anil_with_prototypes best_without_validation bounds_reversed budget_of_lora
        centroid_test_in_regression chunk_above_meta_batch class_split_below_the_way conv4_on_sinusoid
        domains_of_banking77 dora_of_linear first_validation_after_the_end fraction_as_rank_pattern
        imaml_without_proximal inner_adam_of_maml learn_lr_jointly learn_lr_of_reptile lora_linear_without_adapter
        lora_ml_on_sinusoid lora_on_mlp model_path_of_conv4 model_train_of_conv4 momentum_of_adam
        more_images_than_drawings negative_alpha_pattern network_on_sinusoid network_without_path no_inner_steps
        no_iterations nothing_to_train one_way_intents one_way_omniglot pattern_without_number protonet_on_sinusoid
        protonet_with_linear_head protonet_with_steps prototypes_in_regression proximal_of_maml rank_above_dim
        rule_broken_by_a_base same_shots_twice seeds_run_out split_above_the_characters targets_of_linear
        scored_steps_that_fall scored_steps_without_the_last
        targets_without_adapter test_of_another_model test_of_one_way test_of_unknown_source test_rank_of_network
        test_twice tested_shots_above_the_drawings text_source_on_conv4 too_many_domains validation_of_lora_linear
        way_above_a_domain way_above_the_classes ways_in_regression weight_decay_of_sgd""",
    "on the command line": """set_breaks_a_rule set_not_yaml set_nothing_like_it set_out_of_range set_unknown_key
        set_unknown_key_in_section set_unknown_section set_without_equals set_without_value""",
    "in other files": "defaults_folder defaults_missing defaults_of_itself defaults_with_a_mistake",
    "what a reference leads to": "circular_reference reference_of_a_wrong_type unknown_reference unset_variable",
    "how the text is written": "duplicate_key duplicate_section octal_number tag",
    "not a number is within all bounds": "lr_nan",
}


class Yaml12(yaml.SafeLoader):
    """Types of YAML 1.2, as editors have them."""
    yaml_implicit_resolvers = {}


for tag, pattern, first in [
    ("bool", r"^(?:true|false)$", "tf"),
    ("null", r"^(?:~|null|)$", ["~", "n", ""]),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|nan)$", "-+0123456789."),
]:
    Yaml12.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))
Yaml12.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value, 10))
Yaml12.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(node.value.replace(".inf", "inf").replace(".nan", "nan")))


def verdict(validator, path):
    """None: valid; else why not. A file that is no YAML to an editor either is invalid."""
    try:
        with open(path, encoding="utf-8") as f:
            data = yaml.load(f, Loader=Yaml12)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as e:
        return f"not YAML: {type(e).__name__}"
    error = jsonschema.exceptions.best_match(validator.iter_errors(data))
    return error.message[:100] if error else None


def check_files(validator):
    failures = 0
    beyond = {name: why for why, names in BEYOND.items() for name in names.split()}
    configs = [os.path.join(ROOT, "configs", f) for f in sorted(os.listdir(os.path.join(ROOT, "configs"))) if f.endswith(".yaml")]
    for path in configs:
        why = verdict(validator, path)
        failures += bool(why)
        if why:
            print(f"{path}: invalid by the schema: {why}")
    folder = os.path.join(HERE, "broken")
    broken = sorted(f[:-5] for f in os.listdir(folder) if f.endswith(".yaml"))
    refused = 0
    for name in broken:
        why = verdict(validator, os.path.join(folder, name + ".yaml"))
        refused += bool(why)
        if bool(why) == (name in beyond):
            print(f"broken/{name}.yaml: " + (f"invalid ({why}) though listed as beyond a schema" if why else "valid by the schema"))
            failures += 1
    for name in beyond.keys() - set(broken):
        print(f"there is no broken/{name}.yaml any more")
        failures += 1
    print(f"{len(configs)} configurations valid; {refused} of {len(broken)} broken files invalid, the others break no single key")
    return failures


def keys(schema, prefix=""):
    for name, value in schema["properties"].items():
        if "properties" in value:
            yield from keys(value, f"{name}.")
        elif name != "defaults":
            yield prefix + name, value


def probes(value):
    """Values worth trying: in, at and beyond what the schema says, and of every other type."""
    kind = value["anyOf"][0]
    out = ["true", "false", "7", "0", "-1", "0.5", "1e-3", "hello", "'7'", "[]", "[1, 2]", "[1, 2, 3]", "[1, x]", "{a: 1}", "[1, 2, 3, 4, 5, 6, 7, 8, 9]"]
    out += kind.get("enum", [])
    one = kind.get("items", kind)
    for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        if name in one:
            bound = one[name]
            step = 1 if one["type"] == "integer" else max(abs(bound), 1) * 1e-6
            near = [bound - step, bound, bound + step]
            out += [repr(v) if one is kind else f"[{', '.join([repr(v)] * kind.get('minItems', 1))}]" for v in near]
    if "default" in value:
        out.append(json.dumps(value["default"]).strip('"') or '""')
    return out


def program_refuses(key, text, config):
    """Whether this one value is refused, not what it leads to with others."""
    done = subprocess.run([PROGRAM, "check", config, "--set", f"{key}={text}"], capture_output=True, text=True, check=False)
    line = done.stderr.split("\n")[0]
    return done.returncode != 0 and re.search(rf": {re.escape(key)} (is|has) ", line) is not None and "expected" in line.lower() and "between" not in line


def check_keys(validator, schema):
    failures = tried = 0
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "probe.yaml")
        with open(config, "w", encoding="ascii") as f:
            f.write("tasks: {source: sinusoid}\n")
        for key, value in keys(schema):
            for text in probes(value):
                data = {"tasks": {"source": "sinusoid"}}
                where = data.setdefault(key.split(".")[0], {}) if "." in key else data
                where[key.split(".")[-1]] = yaml.load(text, Loader=Yaml12)
                tried += 1
                invalid = not validator.is_valid(data)
                if invalid != program_refuses(key, text, config):
                    print(f"{key}={text}: {'invalid' if invalid else 'valid'} by the schema, not so by the program")
                    failures += 1
    print(f"{tried} values of {len(list(keys(schema)))} keys tried on the schema and the program")
    return failures


def main():
    with open(os.path.join(ROOT, "docs", "experiment.schema.json"), encoding="utf-8") as f:
        schema = json.load(f)
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    failures = check_files(validator) + check_keys(validator, schema)
    sys.exit(f"{failures} differences" if failures else 0)


main()

"""Lints the template and its nested ones as CloudFormation reads them: included files in their places, and SAM's resources made
plain ones. `sam validate --lint` looks into no included file. Then looks at what lets callers into each method of each API.

Usage: python tests/witness/lint.py, in an environment with tests/witness/requirements.txt installed.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = pathlib.Path(__file__).resolve().parents[2]


def templates():
    """The template and every one that it is made of."""
    return [ROOT / "template.yaml", *(path for path in sorted((ROOT / "infra").glob("*.yaml")) if "AWSTemplateFormatVersion" in path.read_text())]


def spliced(node, folder):
    """With what `AWS::Include` names among the fields that stand beside it."""
    if isinstance(node, list):
        return [spliced(one, folder) for one in node]
    if not isinstance(node, dict):
        return node
    fields = {name: spliced(value, folder) for name, value in node.items() if name != "Fn::Transform"}
    transform = node.get("Fn::Transform")
    if transform:
        if transform["Name"] != "AWS::Include":
            sys.exit(f"{transform['Name']} is no transform that this script knows")
        fields |= spliced(yaml_parse((folder / transform["Parameters"]["Location"]).read_text()), folder)
    return fields


def whole(path):
    """A template with its included files; exceptions of the linter that were made for them are left out."""
    template = spliced(yaml_parse(path.read_text()), path.parent)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Bedrock::Guardrail":
            del resource["Metadata"]
        # Lies elsewhere than the copy that is linted; the linter compares parameters by the original.
        if resource["Type"] == "AWS::CloudFormation::Stack":
            resource["Properties"]["TemplateURL"] = str(path.parent / resource["Properties"]["TemplateURL"])
    return template


# What lets callers into each API, and the routes that are open.
APIS = {"Api": {"AWS_IAM"}, "UserApi": {"Users"}, "KeyApi": {"AWS_IAM", "api_key"}}
OPEN = {"/.well-known/oauth-protected-resource"}


class Policies:
    """The managed policies that SAM knows by name; it asks AWS for them where nobody gives them."""

    def load(self):
        return {}


def open_by_oversight():
    """Methods of the APIs, as SAM makes them of the template, that ask for something else than they should."""
    template = whole(ROOT / "template.yaml")
    for resource in template["Resources"].values():
        for field in ("CodeUri", "DefinitionUri"):
            if resource["Type"].startswith("AWS::Serverless::") and field in resource["Properties"]:
                resource["Properties"][field] = {"Bucket": "b", "Key": "k"}
    template["Globals"]["Function"]["CodeUri"] = {"Bucket": "b", "Key": "k"}
    resources = transform(template, {}, Policies())["Resources"]
    for api, expected in APIS.items():
        for path, operations in resources[api]["Properties"]["Body"]["paths"].items():
            for method, operation in operations.items():
                asked = {name for one in operation["security"] for name in one}
                if asked != (expected - {"AWS_IAM", "Users"} | {"NONE"} if path in OPEN else expected):
                    yield f"{api}: {method} {path} asks for {asked}"


def main():
    linter = pathlib.Path(sys.executable).with_name("cfn-lint")
    failed = False
    with tempfile.TemporaryDirectory() as place:
        for path in templates():
            file = pathlib.Path(place) / f"{path.stem}.json"
            file.write_text(json.dumps(whole(path), indent=1))
            told = subprocess.run([linter, file], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            failed |= told.returncode != 0
            print(f"{path.relative_to(ROOT)}: {told.stdout or 'nothing found'}")
    wrong = list(open_by_oversight())
    print("\n".join(wrong) or "every method asks for what lets callers in")
    sys.exit(failed or bool(wrong))


if __name__ == "__main__":
    main()

"""What belongs together among the template's parameters is asked for before anything is made: its `Rules`, judged by the emulator.

Usage: python tests/witness/rules.py, in an environment with tests/witness/requirements.txt installed.
"""

import json
import sys

import boto3
import botocore.exceptions
from samtranslator.yaml_helper import yaml_parse

import emulator
import lint

OPENSEARCH = {"KnowledgeBase": "opensearch", "KnowledgeBaseDeployer": "arn:aws:iam::000000000000:role/deployer"}
NETWORK = {"Vpc": "vpc-1", "Subnets": "subnet-1,subnet-2", "SecurityGroups": "sg-1"}
# Parameters, and what is told; nothing where they are enough.
ROWS = [
    ({}, None),
    ({"Gateway": "tokens"}, "set UserPool=true"),
    ({"Gateway": "tokens", "UserPool": "true"}, None),
    ({"Gateway": "iam"}, None),
    ({"KnowledgeBase": "opensearch"}, "set KnowledgeBaseDeployer"),
    (OPENSEARCH, None),
    ({"KnowledgeBase": "s3-vectors"}, None),
    ({"KnowledgeBaseWebsite": "https://example.com"}, "set KnowledgeBase=opensearch"),
    ({"KnowledgeBaseWebsite": "https://example.com", "KnowledgeBase": "s3-vectors"}, "set KnowledgeBase=opensearch"),
    ({"KnowledgeBaseWebsite": "https://example.com", **OPENSEARCH}, None),
    ({"KnowledgeBaseConfluence": "https://example.atlassian.net", **OPENSEARCH}, "Set KnowledgeBaseConfluenceSecret"),
    ({"KnowledgeBaseSharePoint": "https://example.sharepoint.com/sites/a", **OPENSEARCH}, "Set KnowledgeBaseSharePoint"),
    ({"Vpc": "vpc-1"}, "Set Subnets"),
    ({"Vpc": "vpc-1", "Subnets": "subnet-1,subnet-2", "VpcEndpoints": "false"}, "Set SecurityGroups"),
    ({**NETWORK, "VpcEndpoints": "false"}, None),
    (NETWORK, "Set RouteTables"),
    ({**NETWORK, "RouteTables": "rtb-1"}, None),
    ({"RouterModels": "a,b"}, "Set RouterFallback"),
    ({"ProfileSpaces": "default"}, "Set ProfileModel"),
]


def main():
    template = yaml_parse((lint.ROOT / "template.yaml").read_text())
    kept = {name: template[name] for name in ("AWSTemplateFormatVersion", "Parameters", "Rules")}
    body = json.dumps({**kept, "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
    wrong = []
    with emulator.running() as (url, _):
        client = boto3.client(
            "cloudformation", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
        )
        for number, (parameters, expected) in enumerate(ROWS):
            given = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
            try:
                client.create_stack(StackName=f"rules-{number}", TemplateBody=body, Parameters=given)
                told = None
            except botocore.exceptions.ClientError as error:
                told = error.response["Error"]["Message"]
            if (told is None) != (expected is None) or (expected and expected not in told):
                wrong.append(f"{parameters}: {told}")
    print("\n".join(wrong) or f"{len(ROWS)} sets of parameters")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

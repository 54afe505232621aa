"""Deploys the template with the SAM CLI to an independent emulator of AWS and runs the deployed state machine once.

Usage: python tests/witness/deploy.py, in an environment with tests/witness/requirements.txt installed.

The functions are our binaries, the emulator gives them table, bucket, state machine and everything else but models, which it
does not have: they come from a laptop cloud beside it. The same documents are brought to both, and both must end with the
same documents, the same passages and the same results of the same searches.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import boto3
import botocore.exceptions
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from samtranslator.yaml_helper import yaml_parse

import doors
import emulator

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
STACK = "witness"
PATIENCE_SECONDS = 300
ACCOUNT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}
# What the emulator knows of the options is on. It has no agents, knowledge bases, gateways, routers and profiles of Bedrock, no
# trail, and associates no firewall.
PARAMETERS = {"EmbedDimensions": "256", "UserPool": "true", "ApiKeys": "true", "Admins": "account,group:admins"}

DOCUMENTS = {
    "boats.md": "# Boats\n\nThe harbour rents rowing boats from April to October.\n\n## Prices\n\nA rowing boat costs nine euros an hour.\n",
    "keeper.txt": "The keeper of the lighthouse lights the lamp at dusk and puts it out at dawn.",
    "rules.html": "<html><head><title>Rules</title></head><body><h1>Rules</h1><p>No fires on the beach after nine in the evening.</p></body></html>",
    "prices.csv": "thing,euros\nkayak,12\nrowing boat,9\n",
    "empty.txt": "   \n",
}
QUESTIONS = ["When is the lamp lit?", "What does a kayak cost?", "fires on the beach", "rowing boats in April"]


class Differs(Exception):
    """What the two tell differently."""


def built(folder, guardrail):
    """The template as `sam build` leaves it: each function's code is a folder with its bootstrap."""
    template = yaml_parse((ROOT / "template.yaml").read_text())
    for name, resource in template["Resources"].items():
        binary = resource.get("Metadata", {}).get("BuildProperties", {}).get("Binary")
        if binary:
            code = folder / name
            code.mkdir()
            shutil.copy(TARGET / binary, code / "bootstrap")
            subprocess.run(["strip", code / "bootstrap"], check=False, stderr=subprocess.DEVNULL)
            resource["Properties"]["CodeUri"] = str(code)
            # Built already.
            del resource["Metadata"]
    # It knows alarms on one metric only.
    resources = template["Resources"]
    template["Resources"] = {name: one for name, one in resources.items() if "Metrics" not in one["Properties"]}
    machine = folder / "ingest.asl.json"
    machine.write_text(json.dumps(for_the_emulator(json.loads((ROOT / "infra/ingest.asl.json").read_text()))))
    template["Resources"]["IngestStateMachine"]["Properties"]["DefinitionUri"] = str(machine)
    for include in includes(template):
        include["Location"] = str(ROOT / include["Location"])
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::CloudFormation::Stack":
            resource["Properties"]["TemplateURL"] = str(ROOT / resource["Properties"]["TemplateURL"])
    # CloudFormation makes texts of numbers, the emulator does not.
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    variables.update({name: str(value) for name, value in variables.items() if isinstance(value, int)})
    path = folder / "template.json"
    path.write_text(json.dumps(without_guardrail(template, guardrail)))
    return path


def for_the_emulator(machine):
    """A distributed map reads its items by JSONPath only there, and knows no `ItemBatcher`: the same in those words, in
    batches of one document."""
    for state in machine["States"].values():
        if state["Type"] != "Map":
            continue
        state["ItemReader"]["Arguments"] = by_path(state["ItemReader"]["Arguments"])
        # A number there, and an expression here.
        del state["MaxConcurrency"]
        batches = state.pop("ItemBatcher")
        state["ItemSelector"] = {
            "BatchInput": by_path(batches["BatchInput"]),
            "Items.$": "States.Array($$.Map.Item.Value)",
        }
    return machine


INPUT = re.compile(r"{% \$states\.input\.(\w+) %}")


def by_path(arguments):
    paths = {}
    for name, value in arguments.items():
        found = INPUT.fullmatch(value)
        if not found:
            sys.exit(f"{name} is {value}, which is more than a path")
        paths[f"{name}.$"] = f"$.{found[1]}"
    return paths


def without_guardrail(template, guardrail):
    """The emulator has no guardrails: the laptop's stands where the template names its own."""
    for name in ("Guardrail", "GuardrailVersion"):
        del template["Resources"][name]
    told = {"GuardrailId": guardrail["id"], "GuardrailArn": guardrail["arn"], "Version": "1"}

    def replaced(node):
        if isinstance(node, list):
            return [replaced(one) for one in node]
        if not isinstance(node, dict):
            return node
        named = node.get("Fn::GetAtt")
        parts = named.split(".") if isinstance(named, str) else named
        if parts and parts[0].startswith("Guardrail") and parts[0] != "GuardrailCheckFunction":
            return told[parts[1]]
        return {key: replaced(value) for key, value in node.items()}

    return replaced(template)


def includes(node):
    if isinstance(node, dict):
        transform = node.get("Fn::Transform")
        if isinstance(transform, dict) and transform.get("Name") == "AWS::Include":
            yield transform["Parameters"]
        for value in node.values():
            yield from includes(value)
    elif isinstance(node, list):
        for value in node:
            yield from includes(value)


def client(url, service):
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, read_timeout=PATIENCE_SECONDS)
    return boto3.client(
        service, endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test", config=config
    )


def deploy(url, template):
    client(url, "s3").create_bucket(Bucket="deployments")
    overrides = [f"{name}={value}" for name, value in {**PARAMETERS, **network(url)}.items()]
    command = [
        pathlib.Path(sys.executable).with_name("sam"), "deploy", "--template-file", template, "--stack-name", STACK,
        "--s3-bucket", "deployments", "--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND",
        "--no-confirm-changeset", "--no-progressbar", "--parameter-overrides", *overrides,
    ]  # fmt: skip
    environment = {**os.environ, **ACCOUNT, "AWS_ENDPOINT_URL": url, "SAM_CLI_TELEMETRY": "0"}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if told.returncode:
        sys.exit(f"`sam deploy` failed:\n{told.stdout[-1000:]}\n{told.stderr[-2000:]}\n{failures(url)}")
    cloudformation = client(url, "cloudformation")
    resources = cloudformation.describe_stack_resources(StackName=STACK)["StackResources"]
    nested = [one["PhysicalResourceId"] for one in resources if one["ResourceType"] == "AWS::CloudFormation::Stack"]
    for one in nested:
        resources += cloudformation.describe_stack_resources(StackName=one)["StackResources"]
    outputs = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["Outputs"]
    return resources, {one["OutputKey"]: one["OutputValue"] for one in outputs}


def network(url):
    """A VPC for the functions, as parameters."""
    ec2 = client(url, "ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24")["Subnet"]["SubnetId"] for number in (1, 2)]
    group = ec2.create_security_group(VpcId=vpc, GroupName="functions", Description="functions")["GroupId"]
    routes = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    return {"Vpc": vpc, "Subnets": ",".join(subnets), "SecurityGroups": group, "RouteTables": routes}


def failures(url):
    try:
        events = client(url, "cloudformation").describe_stack_events(StackName=STACK)["StackEvents"]
    except botocore.exceptions.ClientError as error:
        return error
    failed = [one for one in events if one["ResourceStatus"].endswith("FAILED") or "ROLLBACK_IN" in one["ResourceStatus"]]
    return "\n".join(f"{one['LogicalResourceId']}: {one.get('ResourceStatusReason')}" for one in failed)


class Api:
    """An API and who asks it: requests are signed where there are credentials."""

    def __init__(self, base, credentials=None, headers=None):
        self.base, self.credentials, self.headers = base, credentials, headers or {}

    def __call__(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = AWSRequest(method, self.base + path, data=data, headers={"content-type": "application/json", **self.headers})
        if self.credentials:
            SigV4Auth(self.credentials, "execute-api", "us-east-1").add_auth(request)
        prepared = request.prepare()
        asked = urllib.request.Request(prepared.url, data=data, method=method, headers=dict(prepared.headers))
        try:
            with urllib.request.urlopen(asked, timeout=PATIENCE_SECONDS) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            text = error.read()
            try:
                return error.code, json.loads(text)
            except ValueError:
                return error.code, text.decode()


def sync(call):
    """Brings the documents in, waits for their runs; what is there then."""
    runs = []
    for name, text in DOCUMENTS.items():
        status, reply = call("POST", "/v1/documents", {"name": name, "content": text, "readers": ["everyone"]})
        if status != 202:
            raise Differs(f"{name} was answered with {status}: {reply}")
        runs.append(reply["run_id"])
    begun = time.monotonic()
    ended = []
    for run in runs:
        while True:
            status, reply = call("GET", f"/v1/runs/{run}")
            if status != 200:
                raise Differs(f"the run was answered with {status}: {reply}")
            if reply["status"] not in ("RUNNING", "PENDING"):
                ended.append(reply)
                break
            if time.monotonic() - begun > PATIENCE_SECONDS:
                raise Differs(f"the run did not end: {reply}")
            time.sleep(0.2)
    return ended


def told(call):
    """What a client sees: documents with their standing, and the searches' results."""
    documents = call("GET", "/v1/documents?limit=200")[1]["documents"]
    kept = ["document_id", "name", "title", "status", "error", "reason", "passages", "bytes"]
    seen = {one["name"]: {key: one.get(key) for key in kept} for one in documents}
    for question in QUESTIONS:
        status, reply = call("POST", "/v1/search", {"query": question, "limit": 3})
        found = [[one["passage_id"], one["text"], round(one["score"], 5)] for one in reply.get("results", [])]
        if not found:
            raise Differs(f"{question} finds nothing: {status} {reply}")
        seen[question] = found
    return seen


@contextlib.contextmanager
def laptop(folder):
    log = open(folder / "log", "wb")
    command = [TARGET / "outcrop", "dev", "--no-sample", "--no-events", "--port", "0", "--aws-port", "0", "--data", folder]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        record = folder / "instance.json"
        begun = time.monotonic()
        while not record.exists():
            if child.poll() is not None or time.monotonic() - begun > PATIENCE_SECONDS:
                sys.exit((folder / "log").read_text())
            time.sleep(0.1)
        found = json.loads(record.read_text())
        yield Api(found["api"]), found["aws"]
    finally:
        child.terminate()
        child.wait(timeout=30)


def compare(laptops, deployeds):
    for name in sorted({*laptops, *deployeds}):
        if laptops.get(name) != deployeds.get(name):
            raise Differs(f"{name}:\n  laptop:   {laptops.get(name)}\n  emulator: {deployeds.get(name)}")


def main():
    subprocess.run(["cargo", "build", "--quiet", "--workspace", "--bins"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        for part in ("laptop", "build"):
            (place / part).mkdir()
        with (
            laptop(place / "laptop") as (ours, models),
            emulator.running(**ACCOUNT, AWS_ENDPOINT_URL_BEDROCK_RUNTIME=models) as (url, log),
        ):
            guardrail = client(models, "bedrock").list_guardrails()["guardrails"][0]
            try:
                check(url, built(place / "build", guardrail), ours)
            except Differs as differs:
                sys.exit(f"{differs}\n{log.read_text()[-4000:]}")


def check(url, template, ours):
    resources, outputs = deploy(url, template)
    print(f"deployed {len(resources)} resources")
    # The outputs name the APIs as AWS does; here they are at the emulator.
    outputs = {name: re.sub(r"https://(\w+)\.execute-api[^/]*/", rf"{url}/_aws/execute-api/\1/", value) for name, value in outputs.items()}
    credentials = Credentials(ACCOUNT["AWS_ACCESS_KEY_ID"], ACCOUNT["AWS_SECRET_ACCESS_KEY"])
    wrong, asked = doors.check(url, outputs, Api, credentials)
    if wrong:
        raise Differs("\n".join(wrong))
    print(f"{asked} callers let in or not, at three APIs")
    deployed = Api(outputs["ApiUrl"], credentials)
    for one, other in zip(sync(deployed), sync(ours), strict=True):
        kept = lambda run: {key: run.get(key) for key in ("status", "counts", "failures")}
        if kept(one) != kept(other):
            raise Differs(f"runs:\n  laptop:   {other}\n  emulator: {one}")
    compare(told(ours), told(deployed))
    print(f"{len(DOCUMENTS)} documents and {len(QUESTIONS)} searches alike")
    walk(url)
    print("a document's way through the stack, as tests/cloud.rs walks it")


def walk(url):
    """What is run against a stack on AWS, against this one."""
    command = ["cargo", "test", "--quiet", "--workspace", "--test", "cloud", "--", "the_walk_holds_on_the_stack", "--nocapture"]
    environment = {**os.environ, **ACCOUNT, "AWS_ENDPOINT_URL": url, "STACK": STACK}
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if told.returncode or "skipped" in told.stderr:
        raise Differs(told.stdout[-4000:] + told.stderr[-4000:])


if __name__ == "__main__":
    main()

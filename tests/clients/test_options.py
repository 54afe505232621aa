"""Resources of the stack's options as requests of the services' own APIs, held against botocore's models of them: the linter knows
CloudFormation's schemas, and only an account would tell whether those say the same."""

import json
import pathlib
import re

import botocore.session
import pytest
from botocore.validate import ParamValidator
from cfnlint.decode import decode

INFRA = pathlib.Path(__file__).resolve().parents[2] / "infra"
MODELS = botocore.session.get_session()
PSEUDO = {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "000000000000", "AWS::URLSuffix": "amazonaws.com"}
NOTHING = object()


class Template:
    """A template with values for its parameters, decided and resolved as CloudFormation does it."""

    def __init__(self, file, parameters):
        self.source = decode(str(INFRA / file))[0]
        texts = dict.fromkeys(self.source["Parameters"], "")
        self.values = {**PSEUDO, **texts, **parameters}
        for name, resource in self.source["Resources"].items():
            self.values[name] = f"{name}XXXXXXXXXX"[:10]

    def holds(self, condition):
        [(word, operands)] = condition.items()
        match word:
            case "Condition":
                return self.holds(self.source["Conditions"][operands])
            case "Fn::Not":
                return not self.holds(operands[0])
            case "Fn::And":
                return all(self.holds(one) for one in operands)
            case "Fn::Equals":
                return str(self.resolved(operands[0])) == str(self.resolved(operands[1]))

    def text(self, pattern, more=None):
        values = {**self.values, **(more or {})}
        arn = "arn:aws:x:us-east-1:000000000000:"
        return re.sub(r"\$\{(\w[\w:.]*)\}", lambda found: str(values.get(found[1], arn + found[1])), pattern)

    def resolved(self, node):
        if isinstance(node, list):
            return [one for one in (self.resolved(one) for one in node) if one is not NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            [(word, operands)] = node.items()
            match word:
                case "Ref":
                    return NOTHING if operands == "AWS::NoValue" else self.values[operands]
                case "Fn::GetAtt":
                    parts = operands if isinstance(operands, list) else operands.split(".")
                    return f"arn:aws:x:us-east-1:000000000000:{'.'.join(parts)}"
                case "Fn::Sub" if isinstance(operands, str):
                    return self.text(operands)
                case "Fn::Sub":
                    return self.text(operands[0], self.resolved(operands[1]))
                case "Fn::If":
                    return self.resolved(operands[1 if self.holds({"Condition": operands[0]}) else 2])
                case "Fn::Select":
                    return self.resolved(operands[1])[operands[0]]
                case "Fn::Split":
                    return self.resolved(operands[1]).split(operands[0])
        fields = {name: self.resolved(value) for name, value in node.items() if name != "Fn::Transform"}
        if "Fn::Transform" in node:
            included = INFRA / node["Fn::Transform"]["Parameters"]["Location"]
            fields |= self.resolved(json.loads(included.read_text()))
        return {name: value for name, value in fields.items() if value is not NOTHING}

    def resources(self, kind):
        """Properties of the resources of this kind that exist."""
        for name, resource in self.source["Resources"].items():
            exists = "Condition" not in resource or self.holds({"Condition": resource["Condition"]})
            if resource["Type"] == kind and exists:
                yield name, self.resolved(resource["Properties"])


# Names that users give, which begin as they like.
NAMES = {"Parameters", "Properties", "ConnectorParameters", "connectorParameters"}


def camel(node, of_names=False):
    """The words of CloudFormation begin with capitals, those of most APIs do not."""
    if isinstance(node, list):
        return [camel(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {name if of_names else name[0].lower() + name[1:]: camel(value, name in NAMES) for name, value in node.items()}


def request(service, operation, parameters):
    shape = MODELS.get_service_model(service).operation_model(operation).input_shape
    wrong = ParamValidator().validate(parameters, shape).generate_report()
    assert not wrong, f"{operation}: {wrong}"


def without(properties, *names):
    return {name: value for name, value in properties.items() if name not in names}


BASE = {
    "Name": "outcrop", "BucketName": "documents", "Prefix": "sources/default/", "EmbedModel": "amazon.titan-embed-text-v2:0",
    "EmbedDimensions": 1024, "ChunkTokens": 512, "ChunkOverlapPercent": 20,
}  # fmt: skip
SOURCES = {
    "Website": "https://example.com", "Confluence": "https://example.atlassian.net",
    "ConfluenceSecret": "arn:aws:secretsmanager:us-east-1:000000000000:secret:c",
    "SharePoint": "https://example.sharepoint.com/sites/a", "SharePointDomain": "example",
    "SharePointTenant": "00000000-0000-0000-0000-000000000000",
    "SharePointSecret": "arn:aws:secretsmanager:us-east-1:000000000000:secret:s",
}  # fmt: skip
KEY = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("key", ["", KEY])
@pytest.mark.parametrize("chunking", ["fixed", "hierarchical", "semantic", "none"])
@pytest.mark.parametrize("store", ["s3-vectors", "opensearch", "managed"])
def test_a_knowledge_base_is_what_bedrock_takes(store, chunking, key):
    chosen = {"Store": store, "Chunking": chunking, "KmsKey": key, "Deployer": "arn:aws:iam::000000000000:role/d"}
    template = Template("knowledge-base.yaml", {**BASE, **SOURCES, **chosen})
    for _, properties in template.resources("AWS::Bedrock::KnowledgeBase"):
        request("bedrock-agent", "CreateKnowledgeBase", camel(properties))
        assert ("StorageConfiguration" in properties) == (store != "managed")
    sources = dict(template.resources("AWS::Bedrock::DataSource"))
    # Source: Amazon Bedrock User Guide, of each of the three: "only Amazon OpenSearch Serverless vector store is available".
    assert len(sources) == (4 if store == "opensearch" else 1)
    sharepoint = sources.get("SharePointSource", {}).get("DataSourceConfiguration", {}).get("SharePointConfiguration")
    assert sharepoint is None or sharepoint["SourceConfiguration"]["AuthType"] == "OAUTH2_CLIENT_CREDENTIALS"
    for properties in sources.values():
        request("bedrock-agent", "CreateDataSource", camel(properties))
        kind = properties["DataSourceConfiguration"]["Type"]
        # "A chunking strategy cannot be specified with a managed embedding model."
        assert ("VectorIngestionConfiguration" in properties) == (kind != "MANAGED_KNOWLEDGE_BASE_CONNECTOR")
    for _, properties in template.resources("AWS::S3Vectors::VectorBucket"):
        request("s3vectors", "CreateVectorBucket", {"vectorBucketName": "made-up", **camel(properties)})
    for _, properties in template.resources("AWS::S3Vectors::Index"):
        request("s3vectors", "CreateIndex", {"indexName": "made-up", **camel(properties)})
    kinds = ("SecurityPolicy", "AccessPolicy")
    policies = [one for kind in kinds for one in template.resources(f"AWS::OpenSearchServerless::{kind}")]
    assert len(policies) == (3 if store == "opensearch" else 0)
    for _, properties in policies:
        rules = json.loads(properties["Policy"])
        for one in rules if isinstance(rules, list) else [rules]:
            assert one["Rules"][0]["Resource"][0].split("/")[1] == "outcrop"


@pytest.mark.parametrize("knowledge_base", ["", "ABCDEFGHIJ"])
def test_agents_are_what_bedrock_takes(knowledge_base):
    template = Template("agents.yaml", {
        "Name": "outcrop", "Model": "us.amazon.nova-lite-v1:0", "AgentActionFunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:a",
        "GuardrailId": "abc", "GuardrailVersion": "1", "KnowledgeBaseId": knowledge_base, "KmsKey": KEY,
    })  # fmt: skip
    agents = dict(template.resources("AWS::Bedrock::Agent"))
    assert len(agents) == 3
    draft = {"agentId": "ABCDEFGHIJ", "agentVersion": "DRAFT"}
    for properties in agents.values():
        apart = ("ActionGroups", "AgentCollaborators", "KnowledgeBases", "AutoPrepare")
        request("bedrock-agent", "CreateAgent", camel(without(properties, *apart)))
        for group in properties.get("ActionGroups", []):
            request("bedrock-agent", "CreateAgentActionGroup", {**draft, **camel(group)})
        for one in properties.get("AgentCollaborators", []):
            request("bedrock-agent", "AssociateAgentCollaborator", {**draft, **camel(one)})
        for one in properties.get("KnowledgeBases", []):
            request("bedrock-agent", "AssociateAgentKnowledgeBase", {**draft, **camel(one)})
    assert ("KnowledgeBases" in agents["KnowledgeAgent"]) == bool(knowledge_base)
    for _, properties in template.resources("AWS::Bedrock::AgentAlias"):
        request("bedrock-agent", "CreateAgentAlias", camel(properties))
        assert len(properties["Description"]) <= 200


# Source: Amazon Bedrock AgentCore Developer Guide, Encrypt your AgentCore gateway with a customer-managed KMS key.
GATEWAY_KEY = {"kms:CreateGrant", "kms:DescribeKey", "kms:Decrypt", "kms:GenerateDataKey"}


@pytest.mark.parametrize("key", ["", KEY])
def test_a_gateway_may_use_its_key_through_its_service_only(key):
    template = Template("gateway.yaml", {"Name": "outcrop", "AgentActionFunctionArn": "arn:f", "KmsKey": key})
    [(_, role)] = template.resources("AWS::IAM::Role")
    granted = [one for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]
    of_key = [one for one in granted if any(action.startswith("kms:") for action in one["Action"])]
    assert {action for one in of_key for action in one["Action"]} == (GATEWAY_KEY if key else set())
    for one in of_key:
        assert one["Resource"] == [KEY]
        assert one["Condition"]["StringEquals"]["kms:ViaService"] == "bedrock-agentcore.us-east-1.amazonaws.com"


@pytest.mark.parametrize("issuer", ["", "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_abc"])
def test_a_gateway_is_what_agentcore_takes(issuer):
    function = "arn:aws:lambda:us-east-1:000000000000:function:a"
    template = Template("gateway.yaml", {"Name": "outcrop", "AgentActionFunctionArn": function, "Issuer": issuer, "ClientId": "c"})
    for _, properties in template.resources("AWS::BedrockAgentCore::Gateway"):
        properties = camel(properties)
        authorizer = properties.get("authorizerConfiguration", {})
        assert set(authorizer) == ({"customJWTAuthorizer"} if issuer else set())
        request("bedrock-agentcore-control", "CreateGateway", properties)
    for _, properties in template.resources("AWS::BedrockAgentCore::GatewayTarget"):
        assert len(properties["TargetConfiguration"]["Mcp"]["Lambda"]["ToolSchema"]["InlinePayload"]) == 9
        request("bedrock-agentcore-control", "CreateGatewayTarget", camel(properties))


def test_a_router_and_profiles_are_what_bedrock_takes():
    model = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-"
    template = Template("router.yaml", {"Name": "outcrop", "Models": f"{model}a,{model}b", "Fallback": f"{model}b", "QualityDifference": 10})
    [(_, router)] = template.resources("AWS::Bedrock::IntelligentPromptRouter")
    request("bedrock", "CreatePromptRouter", camel(router))
    assert [one["ModelArn"] for one in router["Models"]] == [f"{model}a", f"{model}b"]
    for spaces in ("default", "default,team", "a,b,c,d,e"):
        template = Template("profiles.yaml", {"Name": "outcrop", "Spaces": spaces, "Model": f"{model}a"})
        made = list(template.resources("AWS::Bedrock::ApplicationInferenceProfile"))
        assert [one["Tags"][0]["Value"] for _, one in made] == spaces.split(",")
        for _, properties in made:
            request("bedrock", "CreateInferenceProfile", camel(properties))


# Source: AWS WAF Developer Guide, Baseline rule groups: the rules that look at bodies.
OF_BODIES = {
    "AWSManagedRulesAmazonIpReputationList": set(),
    "AWSManagedRulesKnownBadInputsRuleSet": {"JavaDeserializationRCE_BODY", "Log4JRCE_BODY", "ReactJSRCE_BODY"},
    "AWSManagedRulesCommonRuleSet": {
        "SizeRestrictions_BODY", "EC2MetaDataSSRF_BODY", "GenericLFI_BODY", "GenericRFI_BODY", "CrossSiteScripting_BODY",
    },
}  # fmt: skip


def test_a_firewall_blocks_no_body_and_logs_nothing_that_lets_callers_in():
    """Documents and questions may speak of anything: a handbook of security quotes what these rules look for."""
    template = Template("web-acl.yaml", {"Name": "outcrop", "Api": "a", "Requests": 2000, "LogDays": 30})
    [(_, acl)] = template.resources("AWS::WAFv2::WebACL")
    groups = [rule["Statement"]["ManagedRuleGroupStatement"] for rule in acl["Rules"] if "OverrideAction" in rule]
    assert {group["Name"] for group in groups} == set(OF_BODIES)
    for group in groups:
        counted = {one["Name"] for one in group.get("RuleActionOverrides", []) if one["ActionToUse"] == {"Count": {}}}
        assert counted == OF_BODIES[group["Name"]]
    [(_, logging)] = template.resources("AWS::WAFv2::LoggingConfiguration")
    hidden = {one["SingleHeader"]["Name"] for one in logging["RedactedFields"] if "SingleHeader" in one}
    assert hidden == {"authorization", "x-amz-security-token", "x-api-key"}
    assert {"QueryString": {}} in logging["RedactedFields"]


def test_a_firewall_and_a_trail_are_what_their_services_take():
    template = Template("web-acl.yaml", {"Name": "outcrop", "Api": "a", "Requests": 2000, "LogDays": 30})
    [(_, acl)] = template.resources("AWS::WAFv2::WebACL")
    request("wafv2", "CreateWebACL", {"Name": "made-up", **acl})
    [(_, logging)] = template.resources("AWS::WAFv2::LoggingConfiguration")
    request("wafv2", "PutLoggingConfiguration", {"LoggingConfiguration": logging})
    template = Template("trail.yaml", {
        "Name": "outcrop", "BucketArn": "arn:aws:s3:::b", "TableArn": "arn:aws:dynamodb:us-east-1:000000000000:table/t",
        "FunctionArnPrefix": "arn:aws:lambda:us-east-1:000000000000:function:outcrop-", "LogDays": 365,
    })  # fmt: skip
    [(_, trail)] = template.resources("AWS::CloudTrail::Trail")
    request("cloudtrail", "PutEventSelectors", {"TrailName": "outcrop", "AdvancedEventSelectors": trail["AdvancedEventSelectors"]})

"""The three APIs of a deployed stack: one takes requests that IAM signs, one a user pool's tokens, one a key besides the signature."""

import boto3

PASSWORD = "Correct-Horse-Battery-9"


def tokens(url, outputs):
    """An ID token of a user in the group `admins`, and one of a user in no group."""
    pool, client = outputs["UserPoolId"], outputs["UserPoolClientId"]
    cognito = boto3.client(
        "cognito-idp", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )

    def token(user, group=None):
        cognito.admin_create_user(UserPoolId=pool, Username=user, TemporaryPassword=PASSWORD, MessageAction="SUPPRESS")
        cognito.admin_set_user_password(UserPoolId=pool, Username=user, Password=PASSWORD, Permanent=True)
        if group:
            cognito.admin_add_user_to_group(UserPoolId=pool, Username=user, GroupName=group)
        reply = cognito.admin_initiate_auth(
            UserPoolId=pool, ClientId=client, AuthFlow="ADMIN_USER_PASSWORD_AUTH", AuthParameters={"USERNAME": user, "PASSWORD": PASSWORD}
        )
        return reply["AuthenticationResult"]["IdToken"]

    return token("ada@example.com", "admins"), token("bob@example.com")


def key(url, outputs):
    gateway = boto3.client(
        "apigateway", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    return gateway.get_api_key(apiKey=outputs["ApiKeyId"], includeValue=True)["value"]


def check(url, outputs, api, credentials):
    """Asks each API with what lets callers in and without; what is not as it should be, by name. `api` makes a client of a base
    URL, with credentials and further headers."""
    ada, bob = tokens(url, outputs)
    key_value = key(url, outputs)
    iam, users, keys = (outputs[name] for name in ("ApiUrl", "UserApiUrl", "KeyApiUrl"))
    space, open_route = "/v1/spaces/default", "/.well-known/oauth-protected-resource"
    rows = [
        # What is asked, of which API, signed, further headers, what is to be told.
        ("nobody", iam, space, False, {}, 403, None),
        ("the account", iam, space, True, {}, 200, "admin"),
        # Open to clients that have no token yet; this stack has no authorization server to name.
        ("a client of MCP", iam, open_route, False, {}, 404, None),
        ("nobody", users, space, False, {}, 401, None),
        ("a forger", users, space, False, {"authorization": ada[:-8] + "AAAAAAAA"}, 401, None),
        ("an admin", users, space, False, {"authorization": ada}, 200, "admin"),
        ("a reader", users, space, False, {"authorization": bob}, 200, "reader"),
        ("a client of MCP", users, open_route, False, {}, 404, None),
        ("a signer without a key", keys, space, True, {}, 403, None),
        ("a key without a signature", keys, space, False, {"x-api-key": key_value}, 403, None),
        ("a signer with a key", keys, space, True, {"x-api-key": key_value}, 200, "admin"),
    ]
    wrong = []
    for who, base, path, signed, headers, status, role in rows:
        found, reply = api(base, credentials if signed else None, headers)("GET", path)
        said = reply.get("role") if isinstance(reply, dict) else None
        if (found, said) != (status, role):
            wrong.append(f"{who} at {base}{path}: {found} {reply}")
    return wrong, len(rows)

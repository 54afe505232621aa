"""A search with langchain_aws over a faiss index that is on the function's disk already."""

import json
import os

from langchain_aws import BedrockEmbeddings
from langchain_community.vectorstores import FAISS

embeddings = BedrockEmbeddings(model_id=os.environ["OUTCROP_EMBED_MODEL"], region_name=os.environ["AWS_REGION"])
store = FAISS.load_local(os.environ["FAISS_FOLDER"], embeddings, allow_dangerous_deserialization=True)


def search(event, context):
    found = store.similarity_search_with_score(json.loads(event["body"])["query"], k=10)
    results = [{"text": document.page_content, "score": float(score)} for document, score in found]
    return {"statusCode": 200, "body": json.dumps({"results": results})}

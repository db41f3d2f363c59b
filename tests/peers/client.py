"""Python's requests. BASE_URL and TOKEN come from the environment.

    python client.py PATH [JSON]
"""

import json
import os
import sys

import requests

path, *body = sys.argv[1:]
headers = {"Authorization": "Bearer " + os.environ["TOKEN"]}
url = os.environ["BASE_URL"] + path
if body:
    answer = requests.post(url, json=json.loads(body[0]), headers=headers, timeout=60)
else:
    answer = requests.get(url, headers=headers, timeout=60)
print(json.dumps({"status": answer.status_code, "call": answer.headers.get("callgate-call"), "body": answer.json()}))

"""Calls as stock Python clients send them, all at once. Reads a list of {client, url, token, prefer} from standard
input; writes for each whether the client takes the answer for success, and what it then knows of it."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

RETRIES = {
    "requests": Retry(0, read=False),
    "urllib3": Retry(1),
    "urllib3-listed": Retry(1, status_forcelist=[429, 503], allowed_methods=None, raise_on_status=False),
}


def call(cell):
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", HTTPAdapter(max_retries=RETRIES[cell["client"]]))
    headers = {"authorization": f"Bearer {cell['token']}"}
    if cell["prefer"]:
        headers["prefer"] = cell["prefer"]
    try:
        answer = session.post(cell["url"], json={"model": "any"}, headers=headers, timeout=120)
        answer.raise_for_status()
        return {"good": True, "text": answer.text}
    except requests.HTTPError as error:
        return {"good": False, "text": error.response.text}
    except requests.RequestException as error:
        return {"good": False, "text": str(error)}


cells = json.load(sys.stdin)
with ThreadPoolExecutor(len(cells)) as pool:
    json.dump(list(pool.map(call, cells)), sys.stdout)

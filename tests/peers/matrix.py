"""One POST as stock Python clients send it: exit code 0 when the client takes the answer for success."""

import sys

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

RETRIES = {
    "requests": Retry(0, read=False),
    "urllib3-default": Retry(1),
    "urllib3-listed": Retry(1, status_forcelist=[429, 503], allowed_methods=None),
}

session = requests.Session()
session.trust_env = False
session.mount("http://", HTTPAdapter(max_retries=RETRIES[sys.argv[1]]))
try:
    session.post(sys.argv[2], data="x", timeout=20).raise_for_status()
except requests.RequestException:
    sys.exit(1)

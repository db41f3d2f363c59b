"""Writes the corpus of raw HTTP/1 requests into `http1/`, one a file.

A file's name begins with the verdict: `refuse` (a refusal, nothing reaches the function), `one` or `two` (so many
requests reach the function, each equal to the one that was judged). `{auth}` stands for the lines that authenticate.
The functions are those of `functions.yaml`, routed at `/t`. Run it again after a change: python3 make.py
"""

import json
import pathlib
import re
import shutil

HERE = pathlib.Path(__file__).parent
OUT = HERE / "http1"
CASES = {}


def add(verdict, family, variant, raw):
    if isinstance(raw, str):
        raw = raw.encode("utf-8", "surrogateescape")
    plain = re.sub(r"[^a-z0-9]+", "-", variant.lower()).strip("-")[:40] or "x"
    name, count = f"{verdict}-{family}-{plain}", 1
    while name in CASES:
        count += 1
        name = f"{verdict}-{family}-{plain}-{count}"
    CASES[name] = raw


def get(target, head="", version="HTTP/1.1", method="GET", host="Host: h\r\n"):
    return f"{method} {target} {version}\r\n{host}{{auth}}{head}\r\n"


def post(body, head="Content-Type: application/json\r\n", target="/t/things", length=True):
    data = body if isinstance(body, bytes) else body.encode()
    size = f"Content-Length: {len(data)}\r\n" if length else ""
    return f"POST {target} HTTP/1.1\r\nHost: h\r\n{{auth}}{head}{size}\r\n".encode() + data


def chunked(body, head="Transfer-Encoding: chunked\r\n"):
    return (
        f"POST /t/things HTTP/1.1\r\nHost: h\r\n{{auth}}Content-Type: application/json\r\n{head}\r\n{body}"
    )


GOOD = '{"amount":1}'
CHUNKS = "c\r\n" + GOOD + "\r\n0\r\n\r\n"


def bodies():
    good = [
        GOOD, ' {"amount" : 1 } ', '{"amount":9223372036854775807}', '{"amount":1,"price":1.2345}',
        '{"amount":1,"price":1e2}', '{"amount":1,"price":-0.1}', '{"amount":1,"note":"\\u00e9\\ud83d\\ude00"}',
        '{"amount":1,"note":"a\\/b"}', '{"amount":1,"tags":[]}', '{"amount":1,"tags":["a","a"]}',
        '{"amount":1,"payee":{}}', '{"amount":1,"payee":{"vip":true}}', '{"amount":1,"meta":{"any":[1,{"a":null}]}}',
        '{"amoun\\u0074":1}', '{"amount":1,"note":"\\u202e"}',
    ]
    wrong = [
        # duplicates (T4, P3)
        '{"amount":1,"amount":1}', '{"amount":1,"amount":999}', '{"amount":1,"amoun\\u0074":999}',
        '{"amount":1,"payee":{"vip":true,"vip":false}}', '{"amount":1,"meta":{"a":1,"a":2}}',
        '{"amount":1,"payee":{},"payee":{"vip":true}}', '{"\\u0061mount":1,"amount":2}',
        # case variants and undeclared members
        '{"amount":1,"Amount":999}', '{"amount":1,"AMOUNT":999}', '{"Amount":1}', '{"amount":1,"amounT":1}',
        '{"amount":1,"payee":{"Iban":"x"}}', '{"amount":1,"payee":{"role":"admin"}}', '{"amount":1,"admin":true}',
        '{"amount":1,"__proto__":{"vip":true}}', '{"amount":1,"constructor":{}}', '{"amount":1,"":1}',
        '{"amount":1,"amount ":1}', '{"amount":1," amount":1}', '{"amount":1,"\u017fote":1}', '{"amount":1,"tag\u017f":[]}',
        '{"amount":1,"amount\\u0000":1}', '{"amount":1,"note\\u200b":"x"}', '{"amount":1,"__entity":{"type":"T","id":"i"}}',
        '{"amount":1,"__extn":{"fn":"decimal","arg":"1"}}', '{"amount":1,"__expr":"x"}', '{"amount":1,"pa\u0443ee":{}}',
        # kinds and numbers (T5, T13)
        '{"amount":"1"}', '{"amount":true}', '{"amount":null}', '{"amount":[1]}', '{"amount":{"$gt":0}}', '{"amount":1.0}',
        '{"amount":1e0}', '{"amount":0}', '{"amount":-1}', '{"amount":9223372036854775808}', '{"amount":1e400}',
        '{"amount":18446744073709551617}', '{"amount":01}', '{"amount":+1}', '{"amount":0x1}', '{"amount":1_000}',
        '{"amount":.5}', '{"amount":1.}', '{"amount":NaN}', '{"amount":Infinity}', '{"amount":-}', '{"amount":1,"price":0.00001}',
        '{"amount":1,"price":1e18}', '{"amount":1,"price":"1"}', '{"amount":1,"tags":"a"}', '{"amount":1,"tags":[1]}',
        '{"amount":1,"tags":[null]}', '{"amount":1,"tags":{"0":"a"}}', '{"amount":1,"payee":[]}', '{"amount":1,"payee":"x"}',
        '{"amount":1,"note":1}', '{"amount":1,"note":"' + "a" * 101 + '"}', '{"amount":1,"meta":[]}',
        # not one JSON document
        "", " ", "null", "[]", "1", '"x"', "[" + GOOD + "]", GOOD + GOOD, GOOD + "\n" + GOOD, GOOD + "x", GOOD + "\0", '{"amount":1,}',
        '{,"amount":1}', '{"amount" 1}', "{amount:1}", "{'amount':1}", '{"amount":1/**/}', '{"amount":1}//', '{"amount":1', '"amount":1}',
        '{"amount":1,"note":"\\ud800"}', '{"amount":1,"note":"\\udc00\\ud800"}', '{"amount":1,"note":"\\x41"}', '{"amount":1,"note":"a\nb"}',
        '{"amount":1,"note":"\t"}', '{"amount":1,"note":"\\u12"}', "\ufeff" + GOOD, ")]}'\n" + GOOD, "data: " + GOOD,
        '{"amount":TRUE}', '{"amount":1,"payee":{"vip":True}}', '{"amount":1,"payee":{"vip":1}}', '{"amount":1,"payee":{"vip":"true"}}',
        '{"amount":1,"meta":' + '{"a":' * 70 + "1" + "}" * 70 + "}", '{"amount":1,"tags":' + "[" * 70 + "]" * 70 + "}",
    ]
    for body in good:
        add("one", "json", body, post(body))
    for body in wrong:
        add("refuse", "json", body[:60], post(body))
    for name, data in [
        ("latin 1", b'{"amount":1,"note":"\xe9"}'), ("overlong", b'{"amount":1,"note":"\xc0\xaf"}'),
        ("surrogate", b'{"amount":1,"note":"\xed\xa0\x80"}'), ("utf-16", GOOD.encode("utf-16")), ("utf-16le", GOOD.encode("utf-16-le")),
        ("utf-32", GOOD.encode("utf-32")), ("gzip magic", b"\x1f\x8b\x08\0\0\0\0\0"), ("utf-7", b"+AHsAIg-amount+ACI-:1}"),
    ]:
        add("refuse", "json", name, post(data))


def media_types():
    for value in ["application/json", "Application/JSON", "application/json;charset=utf-8", 'application/json; charset="UTF-8"', "application/json ; charset=UTF-8"]:
        add("one", "media", value, post(GOOD, f"Content-Type: {value}\r\n"))
    for value in [
        "text/plain", "text/json", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "application/jsonp",
        "application/json, text/plain", "application/json;", "application/json; charset=utf-16", "application/json; charset=utf-7",
        "application/json; charset=latin1", "application/json; charset=utf-8; charset=utf-16", "application/json; Charset=utf-8; charset=utf-8",
        "application/json; version=2", "application/*", "*/*", "application", "json", "application/json/x", "application /json", "", ";application/json",
        'application/json; charset="utf-8', "application/json charset=utf-8", "application/vnd.api+json", "application/json\u00e9",
    ]:
        add("refuse", "media", value, post(GOOD, f"Content-Type: {value}\r\n"))
    add("refuse", "media", "none", post(GOOD, ""))
    add("refuse", "media", "two", post(GOOD, "Content-Type: application/json\r\nContent-Type: application/json\r\n"))
    add("refuse", "media", "two differ", post(GOOD, "Content-Type: text/plain\r\nContent-Type: application/json\r\n"))
    for coding in ["gzip", "br", "deflate", "zstd", "identity, gzip", "x", "gzip, gzip"]:
        add("refuse", "coding", coding, post(GOOD, f"Content-Type: application/json\r\nContent-Encoding: {coding}\r\n"))
    add("one", "coding", "identity", post(GOOD, "Content-Type: application/json\r\nContent-Encoding: identity\r\n"))


def queries():
    for query in ["", "?q=a", "?q=", "?q", "?q=a%20b", "?q=%2B", "?q=a=b", "?n=-7", "?q=a&n=1", "?tag=a&tag=b", "?%71=a", "?q=%26", "?q=%e2%82%ac", "?q=a/b?c", "?q=%5B1%5D", "?q=[1]"]:
        add("one", "query", query, get(f"/t/things/1{query}"))
    for query in [
        "q=a&q=b", "n=1&n=1", "n=1&n=2", "Q=a", "N=1", "Tag=a", "x=1", "q=a&x=1", "q[]=a", "q%5B%5D=a", "tag[0]=a", "=a", "=", "&", "q=a&", "&q=a",
        "q=a&&n=1", "q=a+b", "q=+", "q=a;n=1", "q=a;x", "n=", "n=01", "n=+1", "n=1.0", "n=1e3", "n=0x1", "n=a", "n=%201", "n=1%20", "n=-0", "n=9223372036854775808",
        "n=%31%00", "q=%", "q=%2", "q=%zz", "q=%u0041", "q=%ff", "q=%c0%af", "q=%00", "q=%0a", "q=%0d%0aX:1", "q=%7f", "q=%2541", "q=%25%34%31", "q=%252e",
        "q=a#b", "q=\"a\"", "q=<a>", "q=a\\b", "q=\u00e9", "n\u00a0=1", "%6e=1&n=2", "__proto__=1", "q.=a", ".q=a", "q =a", "method=DELETE&_method=DELETE", "_method=DELETE",
    ]:
        add("refuse", "query", query, get(f"/t/things/1?{query}"))
    for value in ["true", "false"]:
        add("one", "query-dry", value, post(GOOD, target=f"/t/things?dry={value}"))
    for value in ["1", "0", "TRUE", "yes", "", "true%20", "null", "true&dry=false", "false&dry=true", "true&Dry=false"]:
        add("refuse", "query-dry", value, post(GOOD, target=f"/t/things?dry={value}"))


def paths():
    for path in ["/t/things/1", "/t/things/a%20b", "/t/things/%61", "/t/things/a:b", "/t/things/%C3%A9", "/t/things/%c3%a9", "/t/things/a,b@c", "/%74/things/1", "/t/thin%67s/1", "/t/things/~", "/t/things/a.b", "/t/things/..a"]:
        add("one", "path", path, get(path))
    for path in [
        "/t/../t/things/1", "/t/./things/1", "/t//things/1", "//t/things/1", "/t/things//1", "/t/things/1//", "/t/things/..", "/t/things/.", "/t/things/...",
        "/t/things/%2e", "/t/things/%2e%2e", "/t/things/%2E.", "/t/things/.%2e/admin", "/t/x/..%2fthings/1", "/t/things/a%2fb", "/t/things/a%2Fb", "/t/things/a%5cb",
        "/t/things/a\\b", "/t/things/..\\x", "/t/things/1;a=b", "/t;/things/1", "/t/..;/things/1", "/t/things/1%3ba", "/t/things/1%3Fq=a", "/t/things/1%23a", "/t/things/1#a",
        "/t/things/%252e%252e", "/t/things/%252f", "/t/things/%25%32%66", "/t/things/%00", "/t/things/1%00", "/t/things/1%0d%0a", "/t/things/%7f", "/t/things/%c0%af", "/t/things/%c0%ae%c0%ae",
        "/t/things/%e0%80%af", "/t/things/%ed%a0%80", "/t/things/%ff", "/t/things/%ef%bc%8f", "/t/things/%ef%bc%8e%ef%bc%8e", "/t/things/%e2%88%95", "/t/things/%ef%bc%bc", "/t/things/%e2%80%ae", "/t/things/%e2%80%8b",
        "/t/things/%c2%a0", "/t/things/%", "/t/things/%2", "/t/things/%zz", "/t/things/%u002e", "/t/things/1.", "/t/things/1%20", "/t/things/%201", "/t/things/1%2e", "/t/things/<a>", "/t/things/{a}", "/t/things/a|b",
        "/t/things/\u00e9", "/t/things/1/", "/t/things/1/2", "/t/Things/1", "/T/things/1", "/t", "/t/", "/tthings/1", "/", "*", "t/things/1", "/t/things/a b", "http:/t/things/1", "ftp://h/t/things/1",
        "/t/things/" + "a" * 9000, "/t" + "/a" * 70, "http://other/t/things/1", "http://h:80/t/things/1", "http://u@h/t/things/1", "http:///t/things/1", "https://other/t/things/1",
    ]:
        add("refuse", "path", path[:60], get(path))
    add("one", "path", "absolute form", get("http://h/t/things/1"))
    for method in ["DELETE", "PUT", "PATCH", "TRACE", "CONNECT", "get", "Get", "PRI", "PROPFIND", "GETT", "G ET", "OPTIONS"]:
        add("refuse", "method", method, get("/t/things/1", method=method))
    add("one", "method", "head", get("/t/things/1", method="HEAD"))


def heads():
    for line in [
        "X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Original-URL: /admin", "X-Rewrite-URL: /admin", "Host: h", "Host: other",
        "Upgrade: websocket", "Upgrade: h2c", "HTTP2-Settings: AAAA", "Connection: Authorization", "Connection: close, X-Reason", "Connection: upgrade", "TE: gzip", "Expect: x",
        "Expect: 100-continue, x", "Content-Length: 5", "Content-Length: 0\r\nContent-Length: 0", "Transfer-Encoding: chunked", "Transfer-Encoding: identity", "X-A: a\0b", "X-A: \x7f", "X-A: \x0b", "X-A: caf\u00e9",
        "X A: b", "X-A : b", "X-A\t: b", ": b", "X-A", " X-A: b", "\tX-A: b", "X-A: b\r\n c", "X-A: b\rc", "X-A: b\nX-B: c", "X(A): b", "X\u00e9: b", "X-A: " + "a" * 17000, "User-Agent: a\r\nUser-Agent: b", "If-Match: a\r\nIf-Match: b",
        "Range: bytes=0-1\r\nRange: bytes=2-3", "Origin: a\r\nOrigin: b", "\r\nX-A: b",
    ]:
        add("refuse", "head", line[:60], get("/t/things/1", f"{line}\r\n"))
    add("refuse", "head", "101 headers", get("/t/things/1", "".join(f"X-{n}: a\r\n" for n in range(101))))
    add("refuse", "head", "40 KiB", get("/t/things/1", "".join(f"X-{n}: {'a' * 1000}\r\n" for n in range(40))))
    for line in ["X-Forwarded-For: 1.2.3.4", "X-User: root", "X_User: root", "Cookie: a=b", "Accept: a/b\r\nAccept: c/d", "Connection: keep-alive", "Connection: close", "X-A: a\tb", "X-A:b", "X-A:   b  ", "X-A:", "TE: trailers\r\nConnection: te"]:
        add("one", "head", line, get("/t/things/1", f"{line}\r\n"))
    for host in ["", "Host: \r\n", "Host: h\r\nHost: h\r\n", "Host: u@h\r\n", "Host: h:\r\n", "Host: h:0\r\n", "Host: h:99999\r\n", "Host: h/\r\n", "Host: h h\r\n", "Host: h,h\r\n", "Host: b\u00fccher\r\n", "Host: h%2e\r\n", "Host: h..\r\n", "Host: .h\r\n", "Host: 0x7f.1\r\n", "Host: 2130706433\r\n", "Host: 010.0.0.1\r\n", "Host: [::1\r\n", "Host: [fe80::1%25x]\r\n", "Host : h\r\n"]:
        add("refuse", "host", host, get("/t/things/1", host=host))
    for host in ["Host: h.\r\n", "Host: H\r\n", "Host: h\r\n"]:
        add("one", "host", host, get("/t/things/1", host=host))
    for value in ["a", "a b"]:
        add("one", "head-declared", value, post(GOOD, f"Content-Type: application/json\r\nX-Reason: {value}\r\n"))
    add("refuse", "head-declared", "twice", post(GOOD, "Content-Type: application/json\r\nX-Reason: a\r\nx-reason: b\r\n"))


def framings():
    add("one", "frame", "chunked", chunked(CHUNKS))
    add("one", "frame", "chunked in two", chunked("4\r\n" + GOOD[:4] + "\r\n8\r\n" + GOOD[4:] + "\r\n0\r\n\r\n"))
    for te in ["xchunked", "chunked, chunked", "gzip, chunked", "identity", "chunked;q=1", "\tchunked", "\x0bchunked", "chunked\x0c", '"chunked"', "chunked,", ",chunked", "", "chunke"]:
        add("refuse", "te", te, chunked(CHUNKS, f"Transfer-Encoding: {te}\r\n"))
        add("refuse", "te-cl", te, chunked(CHUNKS, f"Content-Length: 12\r\nTransfer-Encoding: {te}\r\n"))
    for both in ["Content-Length: 12\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 12\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"]:
        add("refuse", "te-cl", both, chunked(CHUNKS, both))
    for length in ["+12", "-12", "012", "12,12", "12 12", "0xc", "12.0", "1e1", "", "12\x0b", "99999999999999999999", "twelve"]:
        add("refuse", "cl", length, post(GOOD, f"Content-Type: application/json\r\nContent-Length: {length}\r\n", length=False))
    for body in [
        "c;a=b\r\n" + GOOD + "\r\n0\r\n\r\n", "0xc\r\n" + GOOD + "\r\n0\r\n\r\n", "c \r\n" + GOOD + "\r\n0\r\n\r\n", "+c\r\n" + GOOD + "\r\n0\r\n\r\n", "c\n" + GOOD + "\r\n0\r\n\r\n",
        "c\r\n" + GOOD + "\n0\r\n\r\n", "c\r\n" + GOOD + "0\r\n\r\n", "c\r\n" + GOOD + "\r\n0\r\nX-A: b\r\n\r\n", "c\r\n" + GOOD + "\r\n0\r\nContent-Length: 5\r\n\r\n", "00000000000000000c\r\n" + GOOD + "\r\n0\r\n\r\n",
        "\r\nc\r\n" + GOOD + "\r\n0\r\n\r\n", "d\r\n" + GOOD + "\r\n0\r\n\r\n", "b\r\n" + GOOD + "\r\n0\r\n\r\n", "ffffffffffffffff\r\n" + GOOD, "-1\r\n" + GOOD,
    ]:
        add("refuse", "chunk", body[:30], chunked(body))
    for raw in [
        "GET /t/things/1 HTTP/1.1\nHost: h\n{auth}\n", "GET /t/things/1 HTTP/1.1\r\nHost: h\n{auth}\r\n", "GET /t/things/1 HTTP/1.1\r\r\nHost: h\r\n{auth}\r\n", "GET  /t/things/1 HTTP/1.1\r\nHost: h\r\n{auth}\r\n",
        "GET /t/things/1  HTTP/1.1\r\nHost: h\r\n{auth}\r\n", "GET\t/t/things/1 HTTP/1.1\r\nHost: h\r\n{auth}\r\n", " GET /t/things/1 HTTP/1.1\r\nHost: h\r\n{auth}\r\n", "GET /t/things/1 HTTP/1.1 \r\nHost: h\r\n{auth}\r\n",
        "GET /t/things/1 HTTP/1.2\r\nHost: h\r\n{auth}\r\n", "GET /t/things/1 HTTP/0.9\r\nHost: h\r\n{auth}\r\n", "GET /t/things/1 HTTP/2.0\r\nHost: h\r\n{auth}\r\n", "GET /t/things/1 http/1.1\r\nHost: h\r\n{auth}\r\n",
        "GET /t/things/1\r\nHost: h\r\n{auth}\r\n", "GET /t/things/1 HTTP/1.1 x\r\nHost: h\r\n{auth}\r\n", "\0GET /t/things/1 HTTP/1.1\r\nHost: h\r\n{auth}\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{auth}",
        "POST /t/things HTTP/1.0\r\nHost: h\r\n{auth}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    ]:
        add("refuse", "line", raw[:40], raw)
    add("one", "line", "http 1.0", get("/t/things/1", version="HTTP/1.0"))
    add("refuse", "body", "get with length", get("/t/things/1", "Content-Length: 5\r\n") + "hello")
    add("refuse", "body", "get chunked", get("/t/things/1", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n")
    add("refuse", "body", "missing", post(""))
    add("two", "row", "two in a row", get("/t/things/1") + get("/t/things/2"))
    add("two", "row", "post then get", post(GOOD).decode() + get("/t/things/2"))


def main():
    for make in (bodies, media_types, queries, paths, heads, framings):
        make()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    for name, raw in sorted(CASES.items()):
        (OUT / f"{name}.txt").write_bytes(raw)
    print(json.dumps({"cases": len(CASES)}))


main()

"""aiosmtpd, as it comes: `mail.py PORT CERTIFICATE KEY`.

Takes mail only after STARTTLS and a login (gate, pa55), and prints each one as a line of JSON. A login or a
mail before TLS is refused by the server itself.
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Prints:
    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({
            "tls": session.ssl is not None,
            "login": session.authenticated,
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "text": envelope.content.decode(),
        }), flush=True)
        return "250 taken"


def login(server, session, envelope, mechanism, data):
    good = (data.login, data.password) == (b"gate", b"pa55")
    return AuthResult(success=good)


async def main(port, certificate, key):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)

    def make():
        return SMTP(Prints(), tls_context=tls, require_starttls=True, auth_required=True, authenticator=login)

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", port)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))

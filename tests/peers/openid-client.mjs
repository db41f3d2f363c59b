// A certified OpenID Connect client against an issuer: discovery, client credentials, and the token's signature
// with the published keys. Prints what it learnt as one JSON object.
//   node openid-client.mjs ISSUER CLIENT_ID CLIENT_SECRET AUDIENCE
import * as client from 'openid-client'
import { createRemoteJWKSet, jwtVerify } from 'jose'

const [issuer, id, secret, audience] = process.argv.slice(2)
const config = await client.discovery(new URL(issuer), id, undefined, client.ClientSecretBasic(secret), {
  execute: [client.allowInsecureRequests],
})
const metadata = config.serverMetadata()
const tokens = await client.clientCredentialsGrant(config, { resource: audience })
const keys = createRemoteJWKSet(new URL(metadata.jwks_uri))
const { payload, protectedHeader } = await jwtVerify(tokens.access_token, keys, { issuer, audience, typ: 'at+jwt' })
console.log(JSON.stringify({ issuer: metadata.issuer, type: tokens.token_type, header: protectedHeader, claims: payload }))

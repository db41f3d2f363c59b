// A certified identity provider that nobody here wrote: client credentials, tokens signed by ES256 and RS256 keys
// that are rotated while it runs. A control port, for the test only, changes keys and counts fetches of them.
//   node oidc-provider.mjs PORT CONTROL_PORT
// Control: POST /rotate (new keys first, old ones kept), POST /drop (only the newest stay), GET /fetches,
//          POST /mint {alg, claims, header, foreign} (a token signed by a key of ours, with what the provider
//          itself would never put into one).
import { createServer } from 'node:http'
import { generateKeyPair, exportJWK, calculateJwkThumbprint, SignJWT } from 'jose'
import Provider from 'oidc-provider'

const [port, controlPort] = process.argv.slice(2).map(Number)
const issuer = `http://127.0.0.1:${port}`
const clients = [
  { client_id: 'ci', client_secret: 'ci-secret-of-the-test-peer', alg: 'ES256' },
  { client_id: 'legacy', client_secret: 'legacy-secret-of-the-test-peer', alg: 'RS256' },
]

async function newKey(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true })
  const jwk = await exportJWK(privateKey)
  return { ...jwk, alg, use: 'sig', kid: await calculateJwkThumbprint(jwk) }
}
const newKeys = () => Promise.all(['ES256', 'RS256'].map(newKey))

// The provider reads its keys once, so a rotation is a new provider behind the same port.
let keys = await newKeys()
let provider
function makeProvider() {
  provider = new Provider(issuer, {
    jwks: { keys },
    clients: clients.map(({ alg, ...client }) => ({
      ...client,
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
      token_endpoint_auth_method: 'client_secret_basic',
    })),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'https://gateway.example.com',
        getResourceServerInfo: (_ctx, resource, client) => ({
          scope: 'call',
          audience: resource,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 300,
          jwt: { sign: { alg: clients.find((one) => one.client_id === client.clientId).alg } },
        }),
      },
    },
    extraTokenClaims: () => ({ groups: ['builders'] }),
  })
  provider.callback() // wires the routes now, so that a fault shows at the start
}
makeProvider()

let fetches = 0
createServer((request, response) => {
  if (request.url === '/jwks') fetches += 1
  provider.callback()(request, response)
}).listen(port, '127.0.0.1')

async function body(request) {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  return chunks.length ? JSON.parse(Buffer.concat(chunks).toString()) : {}
}

async function mint({ alg = 'ES256', claims = {}, header = {}, foreign = false }) {
  const key = foreign ? await newKey(alg) : keys.find((one) => one.alg === alg)
  const now = Math.floor(Date.now() / 1000)
  const all = { iss: issuer, sub: 'ci', aud: 'https://gateway.example.com', iat: now, exp: now + 300, ...claims }
  const kid = foreign ? keys.find((one) => one.alg === alg).kid : key.kid
  return new SignJWT(all).setProtectedHeader({ alg, kid, typ: 'at+jwt', ...header }).sign(await importKey(key, alg))
}
async function importKey(jwk, alg) {
  const { importJWK } = await import('jose')
  return importJWK(jwk, alg)
}

createServer(async (request, response) => {
  const answer = (value) => response.end(JSON.stringify(value))
  try {
    if (request.url === '/rotate') keys = [...(await newKeys()), ...keys]
    else if (request.url === '/drop') keys = keys.slice(0, 2)
    else if (request.url === '/fetches') return answer({ fetches })
    else if (request.url === '/mint') return answer({ token: await mint(await body(request)) })
    else return response.writeHead(404).end()
    makeProvider()
    answer({ kids: keys.map((key) => key.kid) })
  } catch (error) {
    response.writeHead(500).end(String(error))
  }
}).listen(controlPort, '127.0.0.1')

// Makes an ES256 key and many distinct tokens signed with it, and the files that a static issuer serves.
//   node tokens.mjs FOLDER ISSUER AUDIENCE COUNT
// Writes FOLDER/tokens.txt (one a line), FOLDER/public.pem, FOLDER/issuer/jwks and the discovery document.
import { createWriteStream, mkdirSync, writeFileSync } from 'node:fs'
import { generateKeyPairSync, sign } from 'node:crypto'

const [folder, issuer, audience, count] = process.argv.slice(2)
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'bench-1', alg: 'ES256', use: 'sig' }
mkdirSync(`${folder}/issuer/.well-known`, { recursive: true })
writeFileSync(`${folder}/public.pem`, publicKey.export({ format: 'pem', type: 'spki' }))
writeFileSync(`${folder}/issuer/jwks`, JSON.stringify({ keys: [jwk] }))
const discovery = {
  issuer, jwks_uri: `${issuer}/jwks`, token_endpoint: `${issuer}/token`, response_types_supported: [],
  subject_types_supported: ['public'], id_token_signing_alg_values_supported: ['ES256'],
}
writeFileSync(`${folder}/issuer/.well-known/openid-configuration`, JSON.stringify(discovery))

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
const header = part({ alg: 'ES256', typ: 'at+jwt', kid: 'bench-1' })
const iat = Math.floor(Date.now() / 1000) - 5
const out = createWriteStream(`${folder}/tokens.txt`)
for (let i = 0; i < Number(count); i += 1) {
  const claims = {
    iss: issuer, aud: audience, sub: 'bench', iat, nbf: iat, exp: iat + 3600, jti: `bench-${i}`,
    client_id: 'bench', groups: ['bench'],
  }
  const body = `${header}.${part(claims)}`
  const signature = sign('sha256', Buffer.from(body), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  out.write(`${body}.${signature.toString('base64url')}\n`)
}
out.end()

// Makes an ES256 key and many distinct tokens signed with it, and the files that a static issuer serves.
//   node tokens.mjs FOLDER ISSUER AUDIENCE COUNT [CLAIMS]
// Writes FOLDER/tokens.txt (one a line), FOLDER/public.pem, FOLDER/issuer/jwks and the discovery document; with CLAIMS
// (JSON) one more token, FOLDER/person.txt, of somebody who has just signed in and of whom these are said instead.
import { createWriteStream, mkdirSync, writeFileSync } from 'node:fs'
import { generateKeyPairSync, sign } from 'node:crypto'

const [folder, issuer, audience, count, person] = process.argv.slice(2)
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
const token = (claims) => {
  const body = `${header}.${part(claims)}`
  const signature = sign('sha256', Buffer.from(body), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return `${body}.${signature.toString('base64url')}\n`
}
const claims = (i) => ({
  iss: issuer, aud: audience, sub: 'bench', iat, nbf: iat, exp: iat + 3600, jti: `bench-${i}`,
  client_id: 'bench', groups: ['bench'],
})
if (person) {
  writeFileSync(`${folder}/person.txt`, token({ ...claims('person'), auth_time: iat, ...JSON.parse(person) }))
}
const out = createWriteStream(`${folder}/tokens.txt`)
for (let i = 0; i < Number(count); i += 1) out.write(token(claims(i)))
out.end()
